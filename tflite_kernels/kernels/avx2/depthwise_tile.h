// The inner loops of avx2_dw: a row of output pixels by a block of 32 channels; or of 16 channels,
// two pixels at a time; or of 8 channels, four pixels at a time.
#ifndef ACCQ_KERNELS_AVX2_DEPTHWISE_TILE_H_
#define ACCQ_KERNELS_AVX2_DEPTHWISE_TILE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/output_range.h"
#include "kernels/schedule.h"

namespace accq {

// The order of lanes in vectors. PUNPCKLBW and PUNPCKHBW of two taps leave channels
// 0-7 16-23 | 8-15 24-31; int32 sums hold the even lanes of each half, then the odd ones.
inline int PackedLane(int channel) { return channel / 8 % 2 * 16 + channel / 16 * 8 + channel % 8; }
inline int PackedSum(int channel) {
  const int lane = PackedLane(channel);
  return lane / 16 * 16 + lane % 2 * 8 + lane % 16 / 2;
}

struct TapOffsets {
  int32_t first, second;  // of the two taps of a step from a pixel's first operand
};

// Weights for products in int32: pairs of taps for the sums of 32 channels, in their order.
struct alignas(64) WideGroup {
  int16_t weights[2 * kLanes];
};

struct DepthwiseBlock {
  // With int16 sums: steps in segments. Else null, and the steps of `wide` are used.
  const Group* steps;
  const Segments* segments;
  size_t segment_kinds;
  const WideGroup* wide;
  size_t wide_steps;
  const TapOffsets* offsets;
  const int32_t* bias;      // [32], in the order of PackedSum
  const float* multiplier;  // likewise
  int32_t channels;
  int32_t pixels;  // of a vector: 1, 2 or 4; weights, bias and multipliers are there for each
};

struct DepthwiseRow {
  const uint8_t* operands;  // of the first pixel and the block's first channel
  ptrdiff_t pixel_stride;
  int64_t pixels;
  int8_t* out;
  ptrdiff_t out_stride;
};

void RunDepthwiseRow(const DepthwiseBlock& block, const DepthwiseRow& row,
                     const OutputRange& range);

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_DEPTHWISE_TILE_H_
