// The last step of the contract in op.h for 4 channels at a time. FCVTNS rounds to nearest, ties to
// even, whatever the mode; like the float operations that the contract states, the conversion and
// the product rely on the mode that every thread starts with, which is the same. 32-bit ARM always
// computes in that mode here, and takes denormal floats for 0, which they are rounded to anyway.
#ifndef ACCQ_KERNELS_NEON_REQUANTIZE_H_
#define ACCQ_KERNELS_NEON_REQUANTIZE_H_

#include <arm_neon.h>

#include <cstdint>

#include "kernels/break.h"
#include "kernels/output_range.h"

namespace accq {

struct FourSums {
  int32x4_t a, b, c, d;
};
struct FourMultipliers {
  float32x4_t a, b, c, d;
};

class Requantizer {
 public:
  __attribute__((always_inline)) explicit Requantizer(const OutputRange& range)
      : low_(vdupq_n_f32(range.low)),
        high_(vdupq_n_f32(range.high)),
        zero_(vdupq_n_s32(range.zero)) {}

  // int32 sums, bias included, to int32 values of the output. Clamped while still floats: the
  // limits are integers, so rounding after is the same.
  __attribute__((always_inline)) int32x4_t operator()(int32x4_t sums,
                                                      float32x4_t multipliers) const {
    float32x4_t v = vmulq_f32(vcvtq_f32_s32(sums), multipliers);
    v = vminq_f32(vmaxq_f32(v, low_), high_);
    return vaddq_s32(Round(v), zero_);
  }

  // 16 outputs of 16 sums. The same step of all four side by side: in-order cores wait for each.
  __attribute__((always_inline)) int8x16_t Four(const FourSums& sums,
                                                const FourMultipliers& multipliers) const {
    FourMultipliers v = {vcvtq_f32_s32(sums.a), vcvtq_f32_s32(sums.b), vcvtq_f32_s32(sums.c),
                         vcvtq_f32_s32(sums.d)};
    v = {vmulq_f32(v.a, multipliers.a), vmulq_f32(v.b, multipliers.b),
         vmulq_f32(v.c, multipliers.c), vmulq_f32(v.d, multipliers.d)};
    v = {vmaxq_f32(v.a, low_), vmaxq_f32(v.b, low_), vmaxq_f32(v.c, low_), vmaxq_f32(v.d, low_)};
    v = {vminq_f32(v.a, high_), vminq_f32(v.b, high_), vminq_f32(v.c, high_),
         vminq_f32(v.d, high_)};
    const FourSums y = {Round(v.a), Round(v.b), Round(v.c), Round(v.d)};
    const int16x8_t zero = vdupq_n_s16(static_cast<int16_t>(vgetq_lane_s32(zero_, 0)));
    const int16x8_t low = vaddq_s16(Narrow(y.a, y.b), zero);
    const int16x8_t high = vaddq_s16(Narrow(y.c, y.d), zero);
    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
  }

 private:
  // Of values that fit 16 bits.
  __attribute__((always_inline)) static int16x8_t Narrow(int32x4_t a, int32x4_t b) {
    return vcombine_s16(vmovn_s32(a), vmovn_s32(b));
  }

  // Values of a few hundred at most.
  __attribute__((always_inline)) static int32x4_t Round(float32x4_t v) {
    if (kBreakRounding) {  // truncates what is positive
      const float32x4_t half_up = vaddq_f32(v, vdupq_n_f32(1024.5f));
      return vsubq_s32(vcvtq_s32_f32(half_up), vdupq_n_s32(1024));
    }
#ifdef __aarch64__
    return vcvtnq_s32_f32(v);
#else
    // The floats from 2^23 to 2^24 are the integers there: the sum is rounded to one, and its last
    // bits are those of the result.
    const float32x4_t sum = vaddq_f32(v, vdupq_n_f32(0x1.8p23f));
    return vsubq_s32(vreinterpretq_s32_f32(sum), vdupq_n_s32(0x4B400000));
#endif
  }

  float32x4_t low_, high_;
  int32x4_t zero_;
};

}  // namespace accq

#endif  // ACCQ_KERNELS_NEON_REQUANTIZE_H_
