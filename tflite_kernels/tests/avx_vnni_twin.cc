#include "tests/avx_vnni_twin.h"

#include "kernels/avx2/map_operands.h"
#include "kernels/conv_op.h"
#include "kernels/vnni/avx_tile.h"
#include "kernels/x86/cpu.h"

namespace accq {
namespace {

using Tiles = DotTiles<AvxVnni<Encoding::kEvex>>;

constexpr ConvLoops kLoops = {
    "avxvnni_twin",  /*dots=*/true, /*block_channels=*/16,
    MapOperandsAvx2, Tiles::Pixels, Tiles::Find,
};

}  // namespace

const Kernel kAvxVnniTwin = {
    kLoops.kernel,
    [] { return Cpu().avx512_vnni; },
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kLoops, error); },
};

}  // namespace accq
