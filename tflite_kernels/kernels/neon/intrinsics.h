// NEON's intrinsics for 32-bit ARM too, which lacks some of 64-bit ARM's: instructions on the high
// half of a register, whose halves have names of their own there, and pairwise sums of whole ones.
#ifndef ACCQ_KERNELS_NEON_INTRINSICS_H_
#define ACCQ_KERNELS_NEON_INTRINSICS_H_

#include <arm_neon.h>

#include "kernels/inline.h"

#ifndef __aarch64__
namespace accq {

ACCQ_INLINE inline int16x8_t vmull_high_s8(int8x16_t x, int8x16_t y) {
  return vmull_s8(vget_high_s8(x), vget_high_s8(y));
}
ACCQ_INLINE inline int16x8_t vmlal_high_s8(int16x8_t sum, int8x16_t x, int8x16_t y) {
  return vmlal_s8(sum, vget_high_s8(x), vget_high_s8(y));
}
ACCQ_INLINE inline int32x4_t vaddw_high_s16(int32x4_t x, int16x8_t y) {
  return vaddw_s16(x, vget_high_s16(y));
}
ACCQ_INLINE inline int32x4_t vpaddq_s32(int32x4_t x, int32x4_t y) {
  return vcombine_s32(vpadd_s32(vget_low_s32(x), vget_high_s32(x)),
                      vpadd_s32(vget_low_s32(y), vget_high_s32(y)));
}

}  // namespace accq
#endif

#endif  // ACCQ_KERNELS_NEON_INTRINSICS_H_
