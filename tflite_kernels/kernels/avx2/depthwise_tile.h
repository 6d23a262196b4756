// The inner loops of avx2_dw: a row of output pixels by a block of 32 channels; or of 16 channels,
// two pixels at a time; or of 8 channels, four pixels at a time.
#ifndef ACCQ_KERNELS_AVX2_DEPTHWISE_TILE_H_
#define ACCQ_KERNELS_AVX2_DEPTHWISE_TILE_H_

#include "kernels/depthwise_loops.h"

namespace accq {

// The order of lanes in vectors. PUNPCKLBW and PUNPCKHBW of two taps leave channels
// 0-7 16-23 | 8-15 24-31; int32 sums hold the even lanes of each half, then the odd ones.
inline int PackedLane(int channel) { return channel / 8 % 2 * 16 + channel / 16 * 8 + channel % 8; }
inline int PackedSum(int channel) {
  const int lane = PackedLane(channel);
  return lane / 16 * 16 + lane % 2 * 8 + lane % 16 / 2;
}

void RunDepthwiseRowAvx2(const DepthwiseBlock& block, const DepthwiseRow& row,
                         const OutputRange& range);

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_DEPTHWISE_TILE_H_
