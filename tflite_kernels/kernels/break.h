// Deliberate mistakes, to prove that the tests see them. The CMake option ACCQ_BREAK=clamp, spill,
// rounding, padding or order defines one of these macros for the fast kernels (never for the
// reference); no build that is shipped does.
#ifndef ACCQ_KERNELS_BREAK_H_
#define ACCQ_KERNELS_BREAK_H_

namespace accq {

#ifdef ACCQ_BREAK_CLAMP  // operands are not clamped to their range
inline constexpr bool kBreakClamp = true;
#else
inline constexpr bool kBreakClamp = false;
#endif

#ifdef ACCQ_BREAK_SPILL  // int16 sums may grow by one more than they can hold
inline constexpr bool kBreakSpill = true;
#else
inline constexpr bool kBreakSpill = false;
#endif

#ifdef ACCQ_BREAK_ROUNDING  // halves are rounded up, not to even
inline constexpr bool kBreakRounding = true;
#else
inline constexpr bool kBreakRounding = false;
#endif

#ifdef ACCQ_BREAK_PADDING  // SAME pads with 0, not with the input's zero point
inline constexpr bool kBreakPadding = true;
#else
inline constexpr bool kBreakPadding = false;
#endif

#ifdef ACCQ_BREAK_ORDER  // weights are put in another order, and where their operands lie is not
inline constexpr bool kBreakOrder = true;
#else
inline constexpr bool kBreakOrder = false;
#endif

}  // namespace accq

#endif  // ACCQ_KERNELS_BREAK_H_
