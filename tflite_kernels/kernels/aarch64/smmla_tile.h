// The inner loops of neon_smmla: a tile of output pixels by a block of 16 output channels. A step
// is 16 bytes; SMMLA adds eight products to each of the int32 sums of two pixels and two channels.
#ifndef ACCQ_KERNELS_AARCH64_SMMLA_TILE_H_
#define ACCQ_KERNELS_AARCH64_SMMLA_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

// For ConvLoops.
int SmmlaTilePixels(TileKind kind);
ConvTileFunction FindSmmlaTile(TileKind kind, int pixels, int channels);

// Where a step's weights stand: bytes 0-7 of all channels, then 8-15.
constexpr int32_t SmmlaPlace(int32_t channel, int32_t byte) {
  return byte / 8 * 128 + channel * 8 + byte % 8;
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_SMMLA_TILE_H_
