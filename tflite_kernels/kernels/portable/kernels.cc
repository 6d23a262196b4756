#include "kernels/portable/kernels.h"

#include "kernels/conv_op.h"
#include "kernels/depthwise_op.h"
#include "kernels/portable/depthwise_tile.h"
#include "kernels/portable/dot8_tile.h"
#include "kernels/portable/int32_tile.h"
#include "kernels/portable/map_operands.h"

namespace accq {
namespace {

// Without them the compiler takes vectors to pieces, which is slower than no vectors.
constexpr bool kHasVectors =
#if defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || \
    defined(__riscv_vector) || defined(__VSX__) || defined(__loongarch_sx)
    true;
#else
    false;
#endif

constexpr ConvLoops kDot8Loops = {
    "portable_dot8",        /*dots=*/false,       kK16N4Pairs.channels, MapOperandsPortable,
    PortableDot8TilePixels, FindPortableDot8Tile, kK16N4Pairs,          /*stored=*/true,
};

constexpr ConvLoops kInt32Loops = {
    "portable_int32", /*dots=*/true, kK16N4Pairs.channels, MapOperandsPortable,
    Int32TilePixels,  FindInt32Tile, kK16N4Pairs,          /*stored=*/true,
};

constexpr DepthwiseLoops kDepthwiseLoops = {
    "portable_dw",
    MapOperandsPortable,
    RunDepthwiseRowPortable,
    DepthwiseWeightPortable,
    [](int channel) { return channel; },
    /*stored=*/true,
};

}  // namespace

const Kernel kPortableDot8 = {
    kDot8Loops.kernel,
    [] { return kHasVectors; },
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kDot8Loops, error); },
};

const Kernel kPortableInt32 = {
    kInt32Loops.kernel,
    [] { return true; },
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kInt32Loops, error); },
};

const Kernel kPortableDepthwise = {
    kDepthwiseLoops.kernel,
    [] { return true; },
    IsPlainDepthwise,
    [](const OpSpec& spec, std::string* error) {
      return CreateDepthwise(spec, kDepthwiseLoops, error);
    },
};

}  // namespace accq
