#include "kernels/neon/kernels.h"

#include "kernels/conv_op.h"
#include "kernels/depthwise_op.h"
#include "kernels/neon/depthwise_tile.h"
#include "kernels/neon/dot8_tile.h"
#include "kernels/neon/map_operands.h"

namespace accq {
namespace {

// A step of four pixels that keeps int16 sums in registers loads 8 vectors instead of 12, and a
// spill then loads and stores 16.
constexpr ConvLoops kDot8Loops = {
    "neon_dot8",        /*dots=*/false, kK16N4.channels, MapOperandsNeon,
    Dot8TilePixels,     FindDot8Tile,   kK16N4,          /*stored=*/true,
    /*long_segment=*/8,
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
    [] { return true; },  // every 64-bit ARM has NEON
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kDot8Loops, error); },
};

const Kernel kNeonDepthwise = {
    kDepthwiseLoops.kernel,
    [] { return true; },
    IsPlainDepthwise,
    [](const OpSpec& spec, std::string* error) {
      return CreateDepthwise(spec, kDepthwiseLoops, error);
    },
};

}  // namespace accq
