// The inner loops of neon_dot8 on 32-bit ARM: sums in assembly, outputs here.
#include "kernels/neon/dot8_tile.h"

#include <cstring>
#include <iterator>

#include "kernels/armv7/dot8_sums.h"
#include "kernels/neon/intrinsics.h"
#include "kernels/neon/requantize.h"

namespace accq {
namespace {

constexpr int kChannels = kK16N4.channels;
constexpr int kParts = 4;  // of a sum

void StorePixel(const ConvBlock& block, const Requantizer& requantize, const int32_t* sums,
                int8_t* out) {
  const int32x4_t low = vpaddq_s32(vld1q_s32(sums), vld1q_s32(sums + kParts));
  const int32x4_t high = vpaddq_s32(vld1q_s32(sums + 2 * kParts), vld1q_s32(sums + 3 * kParts));
  const int32x4_t each = vaddq_s32(vpaddq_s32(low, high), vld1q_s32(block.bias));
  const int16x4_t words = vmovn_s32(requantize(each, vld1q_f32(block.multiplier)));
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  const uint32_t all = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
  if (block.channels == kChannels) {
    std::memcpy(out, &all, kChannels);
  } else {
    std::memcpy(out, &all, block.channels);
  }
}

template <int kPixels, void (*kSum)(const Dot8Work*)>
void Tile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  alignas(64) int32_t sums[kPixels * kChannels * kParts];
  const Dot8Work work = {
      block.steps,
      block.offsets,
      block.segments,
      block.segment_kinds,
      tile.operands + tile.pixels[0],
      kPixels > 1 ? tile.pixels[1] - tile.pixels[0] : 0,
      sums,
  };
  kSum(&work);
  const Requantizer requantize(range);
  for (int i = 0; i < kPixels; ++i) {
    StorePixel(block, requantize, sums + i * kChannels * kParts, tile.out + i * tile.out_stride);
  }
}

constexpr ConvTileFunction kTiles[] = {Tile<1, accq_dot8_1>, Tile<2, accq_dot8_2>};

}  // namespace

// Short segments and long ones alike.
int Dot8TilePixels(TileKind) { return std::size(kTiles); }

ConvTileFunction FindDot8Tile(TileKind, int pixels, int) { return kTiles[pixels - 1]; }

}  // namespace accq
