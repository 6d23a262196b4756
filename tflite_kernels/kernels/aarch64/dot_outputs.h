// Outputs of the kernels with dot products: a tile of pixels by a block of 16 channels.
#ifndef ACCQ_KERNELS_AARCH64_DOT_OUTPUTS_H_
#define ACCQ_KERNELS_AARCH64_DOT_OUTPUTS_H_

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/conv_loops.h"
#include "kernels/neon/requantize.h"

namespace accq {

inline constexpr int kDotChannels = 16;

// Writes the outputs of `pixels` pixels, made of sums without bias.
inline void StoreDotOutputs(const ConvBlock& block, const ConvTile& tile, const OutputRange& range,
                            int pixels, const int32_t (*sums)[kDotChannels]) {
  const Requantizer requantize(range);
  for (int i = 0; i < pixels; ++i) {
    const auto four = [&](int c) {
      const int32x4_t sum = vaddq_s32(vld1q_s32(sums[i] + c), vld1q_s32(block.bias + c));
      return vreinterpretq_s16_s32(requantize(sum, vld1q_f32(block.multiplier + c)));
    };
    // The values fit 8 bits: the low quarters are all there is.
    const int16x8_t low = vuzp1q_s16(four(0), four(4)), high = vuzp1q_s16(four(8), four(12));
    const int8x16_t all = vuzp1q_s8(vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high));
    int8_t* const out = tile.out + i * tile.out_stride;
    if (block.channels == kDotChannels) {
      vst1q_s8(out, all);
    } else {
      int8_t bytes[kDotChannels];
      vst1q_s8(bytes, all);
      std::memcpy(out, bytes, block.channels);
    }
  }
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_DOT_OUTPUTS_H_
