// The inner loops of neon_dw: a row of output pixels by a block of 32 channels, for stored
// operands; SMLAL multiplies a tap of 8 channels into int16 lanes, one for each.
#ifndef ACCQ_KERNELS_NEON_DEPTHWISE_TILE_H_
#define ACCQ_KERNELS_NEON_DEPTHWISE_TILE_H_

#include "kernels/depthwise_loops.h"

namespace accq {

// The two taps of 16 channels stand one behind the other.
inline int DepthwiseWeightNeon(int channel, int tap) {
  return channel / 16 * 32 + tap * 16 + channel % 16;
}

void RunDepthwiseRowNeon(const DepthwiseBlock& block, const DepthwiseRow& row,
                         const OutputRange& range);

}  // namespace accq

#endif  // ACCQ_KERNELS_NEON_DEPTHWISE_TILE_H_
