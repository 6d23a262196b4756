// The inner loops of neon_dot8, for the layout k16n4 and stored operands: SMLAL and SMLAL2 multiply
// 16 operands of a pixel by 16 weights of a channel into 8 int16 lanes.
#ifndef ACCQ_KERNELS_NEON_DOT8_TILE_H_
#define ACCQ_KERNELS_NEON_DOT8_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

int Dot8TilePixels(TileKind kind);
ConvTileFunction FindDot8Tile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_NEON_DOT8_TILE_H_
