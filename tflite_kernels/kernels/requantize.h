// The arithmetic of one output value (see the contract in op.h), shared by packing code, the
// reference and the scalar ends of vector kernels.
#ifndef ACCQ_KERNELS_REQUANTIZE_H_
#define ACCQ_KERNELS_REQUANTIZE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/geometry.h"
#include "kernels/op.h"

namespace accq {

inline int32_t ClampInput(int32_t x, const OpSpec& spec) {
  return std::clamp(x, spec.in_min, spec.in_max);
}

inline int64_t SumOfWeights(const OpSpec& spec, int64_t channel) {
  int64_t sum = 0;
  for (int64_t k = 0; k < ProductsPerOutput(spec); ++k) {
    sum += spec.weights[WeightIndex(spec, channel, k)];
  }
  return sum;
}

inline int64_t Bias(const OpSpec& spec, int64_t channel) {
  return spec.bias == nullptr ? 0 : spec.bias[channel];
}

// bias - in_zero * sum(q): what is added to the sum of x' * q.
inline int64_t EffectiveBias(const OpSpec& spec, int64_t channel) {
  return Bias(spec, channel) - spec.in_zero * SumOfWeights(spec, channel);
}

// Rounds |v| < 2^22 to the nearest integer, ties to even, whatever rounding mode the host set.
inline float RoundHalfEven(float v) {
  const float below = std::floor(v);
  const float rest = v - below;  // exact
  const bool up = rest > 0.5f || (rest == 0.5f && std::fmod(below, 2.0f) != 0.0f);
  return up ? below + 1.0f : below;
}

// v is clamped before it is rounded: the limits are integers, so the result is the same, and no
// value is left that an int32 can not hold.
inline int8_t Requantize(int32_t sum, float multiplier, const OpSpec& spec) {
  const float v = static_cast<float>(sum) * multiplier;
  const float low = static_cast<float>(spec.out_min - spec.out_zero);
  const float high = static_cast<float>(spec.out_max - spec.out_zero);
  const float rounded = RoundHalfEven(std::clamp(v, low, high));
  return static_cast<int8_t>(spec.out_zero + static_cast<int32_t>(rounded));
}

}  // namespace accq

#endif  // ACCQ_KERNELS_REQUANTIZE_H_
