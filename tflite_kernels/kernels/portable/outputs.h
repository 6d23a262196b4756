// The last step of the contract in op.h in plain float and integer operations, which compilers put
// in vectors.
#ifndef ACCQ_KERNELS_PORTABLE_OUTPUTS_H_
#define ACCQ_KERNELS_PORTABLE_OUTPUTS_H_

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/break.h"
#include "kernels/inline.h"
#include "kernels/output_range.h"

namespace accq {

static_assert(FLT_EVAL_METHOD == 0, "the contract rounds to float32 after every operation");

// Of a value v of a few hundred at most, the nearest integer, ties to even. The floats from 2^23 to
// 2^24 are the integers there: the sum is rounded to one, in the mode that every thread starts
// with, and its last bits are those of the result.
inline int32_t NearestInteger(float v) {
  if (kBreakRounding) return static_cast<int32_t>(std::floor(v + 0.5f));
  const float sum = v + 0x1.8p23f;
  int32_t bits;
  std::memcpy(&bits, &sum, sizeof(bits));
  return bits - 0x4B400000;
}

// int32 sums, bias included, to outputs. Clamped while still floats: the limits are integers, so
// rounding after is the same.
ACCQ_INLINE inline void WriteOutputs(const int32_t* __restrict sums,
                                     const float* __restrict multiplier, const OutputRange& range,
                                     int32_t count, int8_t* __restrict out) {
  const float low = range.low, high = range.high;
  const int32_t zero = range.zero;
  for (int32_t i = 0; i < count; ++i) {
    const float v = static_cast<float>(sums[i]) * multiplier[i];
    const float above = v < low ? low : v;
    out[i] = static_cast<int8_t>(zero + NearestInteger(above > high ? high : above));
  }
}

// Likewise for the kCount sums of a block of which `channels` are real.
template <int kCount>
ACCQ_INLINE inline void WriteBlock(const int32_t* sums, const float* multiplier,
                                   const OutputRange& range, int32_t channels, int8_t* out) {
  int8_t all[kCount];
  WriteOutputs(sums, multiplier, range, kCount, all);
  if (channels == kCount) {
    std::memcpy(out, all, kCount);
  } else {
    std::memcpy(out, all, channels);
  }
}

}  // namespace accq

#endif  // ACCQ_KERNELS_PORTABLE_OUTPUTS_H_
