// The inner loops of sse41_k4n16: a tile of output pixels by a block of 16 output channels.
#ifndef ACCQ_KERNELS_SSE41_CONV_TILE_H_
#define ACCQ_KERNELS_SSE41_CONV_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

// For ConvLoops.
int Sse41TilePixels(TileKind kind);
ConvTileFunction FindSse41Tile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_SSE41_CONV_TILE_H_
