// The inner loops of portable_dot8, for the layout k16n4 and stored operands: 16 operands of a
// pixel by 16 weights of a channel into 8 int16 lanes, in vectors that GCC and Clang translate for
// any instruction set that has some of 16 bytes.
#ifndef ACCQ_KERNELS_PORTABLE_DOT8_TILE_H_
#define ACCQ_KERNELS_PORTABLE_DOT8_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

int PortableDot8TilePixels(TileKind kind);
ConvTileFunction FindPortableDot8Tile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_PORTABLE_DOT8_TILE_H_
