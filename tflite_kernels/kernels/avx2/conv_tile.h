// The inner loops of avx2_k4n16: a tile of output pixels by a block of 16 output channels.
#ifndef ACCQ_KERNELS_AVX2_CONV_TILE_H_
#define ACCQ_KERNELS_AVX2_CONV_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

// For ConvLoops.
int Avx2TilePixels(TileKind kind);
ConvTileFunction FindAvx2Tile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_CONV_TILE_H_
