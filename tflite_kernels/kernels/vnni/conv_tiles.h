// The inner loops of avx512vnni_k4n32 and avxvnni_k4n16, for ConvLoops: all tiles are kDot.
#ifndef ACCQ_KERNELS_VNNI_CONV_TILES_H_
#define ACCQ_KERNELS_VNNI_CONV_TILES_H_

#include "kernels/conv_loops.h"

namespace accq {

int Avx512VnniTilePixels(TileKind kind);
ConvTileFunction FindAvx512VnniTile(TileKind kind, int pixels, int channels);

int AvxVnniTilePixels(TileKind kind);
ConvTileFunction FindAvxVnniTile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_VNNI_CONV_TILES_H_
