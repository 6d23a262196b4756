#include "kernels/depthwise_layout.h"

#include <algorithm>

#include "kernels/geometry.h"

namespace accq {

bool DepthwiseGroups(const OpSpec& spec, int32_t first_channel, Buffer<Group>* groups) {
  const int64_t taps = DepthwiseTaps(spec);
  if (!groups->Allocate((taps + 1) / 2)) return false;
  const int32_t channels = std::min(kLanes, spec.out_channels - first_channel);
  for (int64_t tap = 0; tap < taps; ++tap) {
    Group& group = (*groups)[tap / 2];
    for (int32_t i = 0; i < channels; ++i) {
      group.weights[2 * i + tap % 2] = spec.weights[WeightIndex(spec, first_channel + i, tap)];
    }
  }
  return true;
}

}  // namespace accq
