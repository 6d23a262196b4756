// The inner loops of portable_dw: a pixel by a block of 32 channels, for stored operands, in plain
// loops over channels with int16 sums, which compilers put in vectors.
#ifndef ACCQ_KERNELS_PORTABLE_DEPTHWISE_TILE_H_
#define ACCQ_KERNELS_PORTABLE_DEPTHWISE_TILE_H_

#include "kernels/depthwise_loops.h"

namespace accq {

// All first taps, then all second ones.
inline int DepthwiseWeightPortable(int channel, int tap) { return tap * kLanes + channel; }

void RunDepthwiseRowPortable(const DepthwiseBlock& block, const DepthwiseRow& row,
                             const OutputRange& range);

}  // namespace accq

#endif  // ACCQ_KERNELS_PORTABLE_DEPTHWISE_TILE_H_
