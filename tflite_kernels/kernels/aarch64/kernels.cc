#include "kernels/aarch64/kernels.h"

#include "kernels/aarch64/cpu.h"
#include "kernels/aarch64/dot16_tile.h"
#include "kernels/aarch64/dot_outputs.h"
#include "kernels/aarch64/sdot_tile.h"
#include "kernels/aarch64/smmla_tile.h"
#include "kernels/conv_op.h"
#include "kernels/neon/kernels.h"
#include "kernels/neon/map_operands.h"

namespace accq {
namespace {

constexpr ConvLoops kSdotLoops = {
    "neon_sdot",        /*dots=*/true, kDotChannels,        MapOperandsNeon, SdotTilePixels,
    FindSdotTile,       kK16N4,        /*stored=*/true,
    /*long_segment=*/0, SdotPlace,     /*takes_many=*/true,
};

constexpr ConvLoops kSmmlaLoops = {
    "neon_smmla",       /*dots=*/true, kDotChannels,        MapOperandsNeon, SmmlaTilePixels,
    FindSmmlaTile,      kK16N4,        /*stored=*/true,
    /*long_segment=*/0, SmmlaPlace,    /*takes_many=*/true,
};

constexpr ConvLoops kDot16Loops = {
    "neon_dot16",       /*dots=*/false,    kK16N4Pairs.channels, MapOperandsNeon,
    Dot16TilePixels,    FindDot16Tile,     kK16N4Pairs,          /*stored=*/true,
    /*long_segment=*/0, /*place=*/nullptr, /*takes_many=*/true,  /*bytes=*/true,
};

}  // namespace

// The first two do not say that they pay: where these instructions are, LiteRT uses them too.

const Kernel kNeonSdot = {
    kSdotLoops.kernel,
    CpuHasSdot,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kSdotLoops, error); },
};

const Kernel kNeonSmmla = {
    kSmmlaLoops.kernel,
    CpuHasSmmla,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kSmmlaLoops, error); },
};

const Kernel kNeonDot16 = {
    kDot16Loops.kernel,
    [] { return true; },
    [](const OpSpec& spec) { return IsConv(spec) && FitsBytes(spec); },
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kDot16Loops, error); },
    NeonConvPays,
};

}  // namespace accq
