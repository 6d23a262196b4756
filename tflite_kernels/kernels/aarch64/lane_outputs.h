// Outputs of the kernels that sum in narrow lanes: tiles of pixels by a block of 4 channels.
#ifndef ACCQ_KERNELS_AARCH64_LANE_OUTPUTS_H_
#define ACCQ_KERNELS_AARCH64_LANE_OUTPUTS_H_

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/aarch64/assembly.h"
#include "kernels/conv_loops.h"
#include "kernels/inline.h"
#include "kernels/neon/requantize.h"

namespace accq {

// Turns sums in four int32 lanes per pixel and channel into outputs, four channels of a pixel at a
// time.
class LaneOutputs {
 public:
  LaneOutputs(const ConvBlock& block, const OutputRange& range)
      : requantize_(range),
        bias_(vld1q_s32(block.bias)),
        multiplier_(vld1q_f32(block.multiplier)),
        channels_(block.channels) {}

  // Writes those of kPixels pixels, `stride` bytes apart.
  template <int kPixels>
  ACCQ_INLINE void Store(const int32_t (*sums)[4][4], int8_t* out, ptrdiff_t stride) const {
    // Those that are not there stand for the last.
    const auto sum = [&](int i) { return Sum(sums[i < kPixels ? i : kPixels - 1]); };
    alignas(16) uint32_t all[(kPixels + 3) / 4][4];
#pragma GCC unroll 4
    for (int i = 0; i < kPixels; i += 4) {
      const int8x16_t outputs =
          requantize_.Four({sum(i), sum(i + 1), sum(i + 2), sum(i + 3)},
                           {multiplier_, multiplier_, multiplier_, multiplier_});
      vst1q_u32(all[i / 4], vreinterpretq_u32_s8(outputs));
    }
    if (channels_ == kK16N4.channels) {
#pragma GCC unroll 12
      for (int i = 0; i < kPixels; ++i) std::memcpy(out + i * stride, &all[i / 4][i % 4], 4);
    } else {
      for (int i = 0; i < kPixels; ++i)
        std::memcpy(out + i * stride, &all[i / 4][i % 4], channels_);
    }
  }

 private:
  ACCQ_INLINE int32x4_t Sum(const int32_t (*sums)[4]) const {
    const int32x4_t ab = vpaddq_s32(vld1q_s32(sums[0]), vld1q_s32(sums[1]));
    const int32x4_t cd = vpaddq_s32(vld1q_s32(sums[2]), vld1q_s32(sums[3]));
    return vaddq_s32(vpaddq_s32(ab, cd), bias_);
  }

  Requantizer requantize_;
  int32x4_t bias_;
  float32x4_t multiplier_;
  int32_t channels_;
};

// Calls body(operands, sums) for each tile. Outputs are made of as many as have 12 pixels, which
// wait for each other's steps instead of their own.
template <int kPixels, typename Body>
ACCQ_INLINE inline void ForEachLaneTile(const ConvBlock& block, const ConvTile& tiles,
                                        const OutputRange& range, const Body& body) {
  constexpr int kMostPixels = 6, kTogether = 12 / kPixels;
  const LaneOutputs outputs(block, range);
  const int8_t* operands[kMostPixels];
  alignas(16) int32_t sums[kTogether * kPixels][4][4];
  ConvTile tile = tiles;
  for (int32_t left = tiles.count; left > 0;) {
    const int32_t count = left < kTogether ? 1 : kTogether;
    for (int32_t t = 0; t < count; ++t, tile.pixels += kPixels) {
      FindOperands(tile, kPixels, operands);
      body(operands, sums + t * kPixels);
    }
    if (count == kTogether) {
      outputs.Store<kTogether * kPixels>(sums, tile.out, tile.out_stride);
    } else {
      outputs.Store<kPixels>(sums, tile.out, tile.out_stride);
    }
    tile.out += count * kPixels * tile.out_stride;
    left -= count;
  }
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_LANE_OUTPUTS_H_
