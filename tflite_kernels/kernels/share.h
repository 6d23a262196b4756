// An even share of a number of things, for work that is split over threads.
#ifndef ACCQ_KERNELS_SHARE_H_
#define ACCQ_KERNELS_SHARE_H_

#include <algorithm>
#include <cstdint>

namespace accq {

struct Share {
  int64_t first, last;  // last is one behind
};

// What part `part` of `parts` has of `count` things: together the parts have each thing once, and
// none has two more than another.
inline Share ShareOf(int64_t count, int part, int parts) {
  const int64_t each = count / parts, rest = count % parts;
  const int64_t first = each * part + std::min<int64_t>(part, rest);
  return {first, first + each + (part < rest ? 1 : 0)};
}

}  // namespace accq

#endif  // ACCQ_KERNELS_SHARE_H_
