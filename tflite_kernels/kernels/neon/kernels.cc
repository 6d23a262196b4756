#include "kernels/neon/kernels.h"

#include "kernels/conv_op.h"
#include "kernels/depthwise_op.h"
#include "kernels/geometry.h"
#include "kernels/neon/depthwise_tile.h"
#include "kernels/neon/dot8_tile.h"
#include "kernels/neon/map_operands.h"

#if defined(__aarch64__)
#include "kernels/aarch64/cpu.h"
#elif defined(__linux__)
#include <sys/auxv.h>
#endif

namespace accq {
namespace {

bool CpuHasNeon() {
#if defined(__aarch64__) || defined(__ARM_NEON)
  return true;  // every such CPU has it, or the compiler was told so
#elif defined(__linux__)
  // Android too. The kernel's word is that of all cores, and emulators give it where their
  // /proc/cpuinfo is another machine's.
  constexpr unsigned long kNeon = 1ul << 12;
  return (getauxval(AT_HWCAP) & kNeon) != 0;
#else
  return false;
#endif
}

// On in-order cores every instruction costs, and LiteRT's kernels take twice as many. Out-of-order
// ones like Cortex-A72 multiply no faster than LiteRT's kernels widen, and where there are dot
// products those do.
bool IsInOrder() {
#if defined(__aarch64__)
  return Cpu().in_order && !Cpu().dot_products;
#else
  return false;  // not known
#endif
}

// By modelled cycles of Cortex-A53 (docs/performance.md): what each row of a depthwise layer takes
// besides pixels weighs more the fewer of these it has.
bool DepthwisePays(const OpSpec& spec, const Shape4& input) {
  Shape4 output;
  std::string error;
  return IsInOrder() && OutputShape(spec, input, &output, &error) && output.w >= 24;
}

// A step of four pixels that keeps int16 sums in registers loads 8 vectors instead of 12, and a
// spill then loads and stores 16.
constexpr ConvLoops kDot8Loops = {
    "neon_dot8",         /*dots=*/false, kK16N4.channels, MapOperandsNeon,
    Dot8TilePixels,      FindDot8Tile,   kK16N4,          /*stored=*/true,
    /*long_segment=*/10,
    /*place=*/nullptr,
#ifdef __aarch64__
    /*takes_many=*/true,
#endif
};

constexpr DepthwiseLoops kDepthwiseLoops = {
    "neon_dw",
    MapOperandsNeon,
    RunDepthwiseRowNeon,
    DepthwiseWeightNeon,
    [](int channel) { return channel; },
    /*stored=*/true,
};

}  // namespace

// By modelled cycles of Cortex-A53 (docs/performance.md): what each output takes besides products
// weighs more the fewer of these it has.
bool NeonConvPays(const OpSpec& spec, const Shape4& input) {
  Shape4 output;
  std::string error;
  if (!IsInOrder() || !OutputShape(spec, input, &output, &error)) return false;
  const int64_t products = ProductsPerOutput(spec);
  return products >= 64 && products * output.n * output.h * output.w * output.c >= int64_t{1} << 15;
}

const Kernel kNeonDot8 = {
    kDot8Loops.kernel,
    CpuHasNeon,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kDot8Loops, error); },
    NeonConvPays,
};

const Kernel kNeonDepthwise = {
    kDepthwiseLoops.kernel,
    CpuHasNeon,
    IsPlainDepthwise,
    [](const OpSpec& spec, std::string* error) {
      return CreateDepthwise(spec, kDepthwiseLoops, error);
    },
    DepthwisePays,
};

}  // namespace accq
