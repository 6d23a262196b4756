// The last step of the contract in op.h for 8 channels at a time. Like the float operations that
// it states, it relies on the rounding mode that every thread starts with (nearest, ties to even).
#ifndef ACCQ_KERNELS_AVX2_REQUANTIZE_H_
#define ACCQ_KERNELS_AVX2_REQUANTIZE_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/break.h"
#include "kernels/inline.h"
#include "kernels/output_range.h"

namespace accq {

class Requantizer {
 public:
  ACCQ_INLINE explicit Requantizer(const OutputRange& range)
      : low_(_mm256_set1_ps(range.low)),
        high_(_mm256_set1_ps(range.high)),
        zero_(_mm256_set1_epi32(range.zero)) {}

  // int32 sums, bias included, to int32 values of the output. Clamped while still floats (the
  // limits are integers, so rounding after is the same): a float beyond int32 would not convert.
  ACCQ_INLINE __m256i operator()(__m256i sums, __m256 multipliers) const {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multipliers);
    v = _mm256_min_ps(_mm256_max_ps(v, low_), high_);
    if (kBreakRounding) v = _mm256_floor_ps(_mm256_add_ps(v, _mm256_set1_ps(0.5f)));
    return _mm256_add_epi32(_mm256_cvtps_epi32(v), zero_);
  }

 private:
  __m256 low_, high_;
  __m256i zero_;
};

// 16 outputs from the int32 values of 8 channels and of the 8 behind them.
ACCQ_INLINE inline __m128i PackOutputs(__m256i a, __m256i b) {
  // PACKSSDW works within 128-bit halves and leaves a0-3 b0-3 | a4-7 b4-7.
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_REQUANTIZE_H_
