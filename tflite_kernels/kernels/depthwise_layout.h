// The layout of depthwise weights: blocks of 32 channels; groups (schedule.h) of 2 consecutive taps
// in file order (kh, kw). Lane i of a group multiplies the two taps of the block's channel i. An
// odd last tap is paired with a zero weight, and channels that a block lacks have zero weights.
#ifndef ACCQ_KERNELS_DEPTHWISE_LAYOUT_H_
#define ACCQ_KERNELS_DEPTHWISE_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/op.h"
#include "kernels/schedule.h"

namespace accq {

inline int64_t DepthwiseTaps(const OpSpec& spec) { return int64_t{spec.filter_h} * spec.filter_w; }

// The groups of the block that starts with `first_channel`. False when memory runs out.
[[nodiscard]] bool DepthwiseGroups(const OpSpec& spec, int32_t first_channel,
                                   Buffer<Group>* groups);

// Whether int16 sums pay for a block: measured, a step takes 0.7 and a spill 0.4 of the time of a
// pair of taps in int32.
inline bool Int16Pays(const Schedule& schedule, size_t groups) {
  return 7 * schedule.steps() + 4 * schedule.spills() <= 10 * groups;
}

}  // namespace accq

#endif  // ACCQ_KERNELS_DEPTHWISE_LAYOUT_H_
