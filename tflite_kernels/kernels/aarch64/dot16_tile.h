// The inner loops of neon_dot16, for the layout k16n4p and stored operands in int8 lanes: MLA
// multiplies 16 operands of a pixel by 16 weights of a channel and adds each product to a lane of
// its own.
#ifndef ACCQ_KERNELS_AARCH64_DOT16_TILE_H_
#define ACCQ_KERNELS_AARCH64_DOT16_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

int Dot16TilePixels(TileKind kind);
ConvTileFunction FindDot16Tile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_DOT16_TILE_H_
