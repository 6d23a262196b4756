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

 private:
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
