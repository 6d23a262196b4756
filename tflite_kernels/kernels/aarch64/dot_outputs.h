// Outputs of the kernels with dot products: a tile of pixels by a block of 16 channels.
#ifndef ACCQ_KERNELS_AARCH64_DOT_OUTPUTS_H_
#define ACCQ_KERNELS_AARCH64_DOT_OUTPUTS_H_

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/aarch64/assembly.h"
#include "kernels/conv_loops.h"
#include "kernels/inline.h"
#include "kernels/neon/requantize.h"

namespace accq {

inline constexpr int kDotChannels = 16;

// clang-format off

// Of pixel p, or of two from p on: no sums yet.
#define ZERO(p, a, b, c, d)                                     \
  PIXEL(p, "movi v" #a ".4s, #0\n" "movi v" #b ".4s, #0\n"      \
           "movi v" #c ".4s, #0\n" "movi v" #d ".4s, #0\n")
// What the assembly of both kernels reads and changes, by the names that it has there.
#define DOT_OPERANDS                                                                              \
  : [weights] "+r"(weights), [offsets] "+r"(offsets), [left] "+r"(left), [offset] "=&r"(offset)   \
  : [pixels] "i"(kPixels), [sums] "r"(sums), [p0] "r"(operands[0]), [p1] "r"(operands[1]),        \
    [p2] "r"(operands[2]), [p3] "r"(operands[3])                                                  \
  : EVERY_VECTOR, "cc", "memory"

// clang-format on

// Calls body(operands, sums) for each tile of kPixels pixels, then writes its outputs, made of the
// sums without bias. `operands` are four; those that are not used stand for the first. `sums` has
// room for an even number of pixels.
template <int kPixels, typename Body>
ACCQ_INLINE inline void ForEachDotTile(const ConvBlock& block, const ConvTile& tiles,
                                       const OutputRange& range, const Body& body) {
  const Requantizer requantize(range);
  const int8_t* operands[4];
  alignas(16) int32_t sums[(kPixels + 1) / 2 * 2][kDotChannels];
  ConvTile tile = tiles;
  for (int32_t t = 0; t < tiles.count; ++t) {
    FindOperands(tile, kPixels, operands);
    body(operands, sums);
    for (int i = 0; i < kPixels; ++i) {
      const auto sum = [&](int c) {
        return vaddq_s32(vld1q_s32(sums[i] + c), vld1q_s32(block.bias + c));
      };
      const int8x16_t all =
          requantize.Four({sum(0), sum(4), sum(8), sum(12)},
                          {vld1q_f32(block.multiplier), vld1q_f32(block.multiplier + 4),
                           vld1q_f32(block.multiplier + 8), vld1q_f32(block.multiplier + 12)});
      if (block.channels == kDotChannels) {
        vst1q_s8(tile.out, all);
      } else {
        int8_t bytes[kDotChannels];
        vst1q_s8(bytes, all);
        std::memcpy(tile.out, bytes, block.channels);
      }
      tile.out += tile.out_stride;
    }
    tile.pixels += kPixels;
  }
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_DOT_OUTPUTS_H_
