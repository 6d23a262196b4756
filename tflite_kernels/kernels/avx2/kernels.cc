#include "kernels/avx2/kernels.h"

#include "kernels/avx2/conv_tile.h"
#include "kernels/avx2/depthwise_tile.h"
#include "kernels/avx2/map_operands.h"
#include "kernels/conv_op.h"
#include "kernels/depthwise_op.h"
#include "kernels/geometry.h"
#include "kernels/x86/cpu.h"

namespace accq {
namespace {

constexpr ConvLoops kConvLoops = {
    "avx2_k4n16",    /*dots=*/false, /*block_channels=*/16,
    MapOperandsAvx2, Avx2TilePixels, FindAvx2Tile,
};

constexpr DepthwiseLoops kDepthwiseLoops = {
    "avx2_dw",           MapOperandsAvx2,
    RunDepthwiseRowAvx2, [](int channel, int tap) { return 2 * PackedLane(channel) + tap; },
    PackedSum,
};

// Few products are done before the call is paid for; and many weights for a single pixel wait for
// the memory, which int16 sums do not make faster.
bool ConvPays(const OpSpec& spec, const Shape4& input) {
  Shape4 output;
  std::string error;
  if (CpuHasByteDotProducts() || !OutputShape(spec, input, &output, &error)) return false;
  const double pixels = 1.0 * output.n * output.h * output.w;
  const double weights = 1.0 * ProductsPerOutput(spec) * spec.out_channels;
  return pixels * weights >= 1 << 15 && !(pixels == 1 && weights > 1 << 23);
}

}  // namespace

const Kernel kAvx2K4N16 = {
    kConvLoops.kernel,
    CpuHasAvx2,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kConvLoops, error); },
    ConvPays,
};

const Kernel kAvx2Depthwise = {
    kDepthwiseLoops.kernel,
    CpuHasAvx2,
    IsPlainDepthwise,
    [](const OpSpec& spec, std::string* error) {
      return CreateDepthwise(spec, kDepthwiseLoops, error);
    },
    // Dot products are of no use here, but CPUs that have them may have AVX-512, with which LiteRT
    // gets ahead where windows do not overlap much.
    [](const OpSpec& spec, const Shape4&) {
      return !CpuHasByteDotProducts() || (spec.stride_h == 1 && spec.stride_w == 1);
    },
};

}  // namespace accq
