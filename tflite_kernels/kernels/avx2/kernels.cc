#include "kernels/avx2/kernels.h"

#include "kernels/avx2/conv_tile.h"
#include "kernels/avx2/depthwise_tile.h"
#include "kernels/avx2/map_operands.h"
#include "kernels/conv_op.h"
#include "kernels/depthwise_op.h"
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

// Of a single row, few weights are done before the call is paid for; and many wait for the memory,
// which int16 sums do not make faster.
bool ConvPays(const OpSpec& spec) {
  const int64_t weights = int64_t{spec.in_channels} * spec.out_channels;
  const bool row = spec.kind == OpKind::kFullyConnected;
  return !CpuHasByteDotProducts() && !(row && (weights < 1 << 15 || weights > 1 << 23));
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
    [](const OpSpec& spec) {
      return !CpuHasByteDotProducts() || (spec.stride_h == 1 && spec.stride_w == 1);
    },
};

}  // namespace accq
