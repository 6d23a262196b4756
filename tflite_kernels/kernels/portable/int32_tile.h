// The inner loops of portable_int32, for the layout k16n4p and stored operands: int32 sums in plain
// loops, for CPUs without vectors, where narrow sums only cost instructions that cut them to 16
// bits.
#ifndef ACCQ_KERNELS_PORTABLE_INT32_TILE_H_
#define ACCQ_KERNELS_PORTABLE_INT32_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

int Int32TilePixels(TileKind kind);
ConvTileFunction FindInt32Tile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_PORTABLE_INT32_TILE_H_
