#include "kernels/sse41/kernels.h"

#include "kernels/conv_op.h"
#include "kernels/sse41/conv_tile.h"
#include "kernels/sse41/map_operands.h"
#include "kernels/x86/cpu.h"

namespace accq {
namespace {

constexpr ConvLoops kConvLoops = {
    "sse41_k4n16",    /*dots=*/false,  /*block_channels=*/16,
    MapOperandsSse41, Sse41TilePixels, FindSse41Tile,
};

}  // namespace

const Kernel kSse41K4N16 = {
    kConvLoops.kernel,
    CpuHasSse41,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kConvLoops, error); },
};

}  // namespace accq
