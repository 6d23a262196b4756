// The sums of a tile of one or two pixels by 4 channels, in assembly (dot8_sums.S).
#ifndef ACCQ_KERNELS_ARMV7_DOT8_SUMS_H_
#define ACCQ_KERNELS_ARMV7_DOT8_SUMS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/schedule.h"

namespace accq {

// dot8_sums.S knows where the fields are.
struct Dot8Work {
  const Group* steps;
  const int32_t* offsets;
  const Segments* segments;
  size_t segment_kinds;
  const uint8_t* first;  // operands of the first pixel
  ptrdiff_t to_second;   // from there to the second pixel's
  int32_t* sums;         // [pixels][4 channels][4], aligned to 64 bytes; only written
};
static_assert(sizeof(Dot8Work) == 28 && offsetof(Dot8Work, sums) == 24);
static_assert(sizeof(Group) == 64 && sizeof(Segments) == 8 && offsetof(Segments, count) == 4);

extern "C" void accq_dot8_1(const Dot8Work* work);
extern "C" void accq_dot8_2(const Dot8Work* work);

}  // namespace accq

#endif  // ACCQ_KERNELS_ARMV7_DOT8_SUMS_H_
