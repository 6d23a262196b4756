#include "kernels/vnni/kernels.h"

#include "kernels/avx2/map_operands.h"
#include "kernels/conv_op.h"
#include "kernels/vnni/conv_tiles.h"
#include "kernels/x86/cpu.h"

namespace accq {
namespace {

constexpr ConvLoops kAvx512Loops = {
    "avx512vnni_k4n32", /*dots=*/true,        /*block_channels=*/32,
    MapOperandsAvx2,    Avx512VnniTilePixels, FindAvx512VnniTile,
};

constexpr ConvLoops kAvxLoops = {
    "avxvnni_k4n16", /*dots=*/true,     /*block_channels=*/16,
    MapOperandsAvx2, AvxVnniTilePixels, FindAvxVnniTile,
};

// LiteRT's VNNI kernels multiply 8 channels of each tap at a time, whether there are as many or
// not; ours 4 bytes of a whole row of the filter. Elsewhere both are about as fast.
bool FewChannels(const OpSpec& spec, const Shape4&) {
  return spec.kind == OpKind::kConv2D && spec.filter_h * spec.filter_w > 1 &&
         spec.in_channels / spec.groups <= 4;
}

}  // namespace

const Kernel kAvx512VnniK4N32 = {
    kAvx512Loops.kernel,
    CpuHasAvx512Vnni,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kAvx512Loops, error); },
    FewChannels,
};

const Kernel kAvxVnniK4N16 = {
    kAvxLoops.kernel,
    CpuHasAvxVnni,
    IsConv,
    [](const OpSpec& spec, std::string* error) { return CreateConv(spec, kAvxLoops, error); },
    FewChannels,
};

}  // namespace accq
