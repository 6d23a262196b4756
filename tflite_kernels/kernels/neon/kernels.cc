#include "kernels/neon/kernels.h"

#include "kernels/conv_op.h"
#include "kernels/depthwise_op.h"
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
// ones like Cortex-A72 multiply no faster than it widens, and dot products make both idle.
bool Pays(const OpSpec&) {
#if defined(__aarch64__)
  return Cpu().in_order && !Cpu().dot_products;
#else
  return false;  // not known
#endif
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

const Kernel kNeonDot8 = {
    kDot8Loops.kernel,
    CpuHasNeon,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kDot8Loops, error); },
    Pays,
};

const Kernel kNeonDepthwise = {
    kDepthwiseLoops.kernel,
    CpuHasNeon,
    IsPlainDepthwise,
    [](const OpSpec& spec, std::string* error) {
      return CreateDepthwise(spec, kDepthwiseLoops, error);
    },
    Pays,
};

}  // namespace accq
