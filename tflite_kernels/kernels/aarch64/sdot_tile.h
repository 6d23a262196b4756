// The inner loops of neon_sdot: a tile of output pixels by a block of 16 output channels. A step is
// 16 bytes; SDOT adds four products to each int32 sum.
#ifndef ACCQ_KERNELS_AARCH64_SDOT_TILE_H_
#define ACCQ_KERNELS_AARCH64_SDOT_TILE_H_

#include "kernels/conv_loops.h"

namespace accq {

// For ConvLoops.
int SdotTilePixels(TileKind kind);
ConvTileFunction FindSdotTile(TileKind kind, int pixels, int channels);

// Where a step's weights stand: bytes 0-3 of all channels, then 4-7, 8-11 and 12-15.
constexpr int32_t SdotPlace(int32_t channel, int32_t byte) {
  return byte / 4 * 64 + channel * 4 + byte % 4;
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_SDOT_TILE_H_
