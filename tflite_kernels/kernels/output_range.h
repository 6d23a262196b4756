#ifndef ACCQ_KERNELS_OUTPUT_RANGE_H_
#define ACCQ_KERNELS_OUTPUT_RANGE_H_

#include <cstdint>

#include "kernels/op.h"

namespace accq {

// Limits of an output around its zero point.
struct OutputRange {
  float low, high;
  int32_t zero;
};

inline OutputRange OutputRangeOf(const OpSpec& spec) {
  return {static_cast<float>(spec.out_min - spec.out_zero),
          static_cast<float>(spec.out_max - spec.out_zero), spec.out_zero};
}

}  // namespace accq

#endif  // ACCQ_KERNELS_OUTPUT_RANGE_H_
