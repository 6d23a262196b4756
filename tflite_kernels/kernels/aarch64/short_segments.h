// The assembly around the steps of kernels whose narrow sums are short-lived: tiles of up to 3
// pixels by 4 channels, narrow sums of pixel p and channel c in v(8 + 4 * p + c), the wider sums
// that these are added to at a segment's end in v(20 + 4 * p + c), weights in v0-v3, operands in
// v4-v6. Every length of up to 8 steps has a loop of its own, without branches inside.
//
// A kernel gives two macros:
//   step(multiply, half, next, offset)  the products of a step; `multiply` begins sums or adds to
//                                       them. `half` and `next` are where the weights of this
//                                       step's channels 2 and 3 and of the next one's 0 and 1 lie,
//                                       `offset` where the next one's offset lies, from those of
//                                       the segment. Loads them, and the next one's operands.
//   widen(p, a, b, c, d)                adds narrow sums a and b of pixel p to the wider c and d
#ifndef ACCQ_KERNELS_AARCH64_SHORT_SEGMENTS_H_
#define ACCQ_KERNELS_AARCH64_SHORT_SEGMENTS_H_

#include "kernels/aarch64/assembly.h"

// clang-format off

#define STEPS_1(step, first, more) step(first, 32, 64, 4)
#define STEPS_2(step, first, more) STEPS_1(step, first, more) step(more, 96, 128, 8)
#define STEPS_3(step, first, more) STEPS_2(step, first, more) step(more, 160, 192, 12)
#define STEPS_4(step, first, more) STEPS_3(step, first, more) step(more, 224, 256, 16)
#define STEPS_5(step, first, more) STEPS_4(step, first, more) step(more, 288, 320, 20)
#define STEPS_6(step, first, more) STEPS_5(step, first, more) step(more, 352, 384, 24)
#define STEPS_7(step, first, more) STEPS_6(step, first, more) step(more, 416, 448, 28)
#define STEPS_8(step, first, more) STEPS_7(step, first, more) step(more, 480, 512, 32)

#define END_SEGMENT(widen, weight_bytes, offset_bytes)          \
  widen(0, 8, 9, 20, 21)                                        \
  "add %[weights], %[weights], #" #weight_bytes "\n"            \
  widen(1, 12, 13, 24, 25)                                      \
  "add %[offsets], %[offsets], #" #offset_bytes "\n"            \
  widen(2, 16, 17, 28, 29)                                      \
  "subs %w[count], %w[count], #1\n"                             \
  widen(0, 10, 11, 22, 23)                                      \
  widen(1, 14, 15, 26, 27)                                      \
  widen(2, 18, 19, 30, 31)

// `count` segments of as many steps as the label says.
#define SEGMENTS_OF(label, name, steps, widen, weight_bytes, offset_bytes) \
  #label ":\n"                                                  \
  "// loop " name "_%c[pixels]_of_" #label "\n"                 \
  steps                                                         \
  END_SEGMENT(widen, weight_bytes, offset_bytes)                \
  "b.ne " #label "b\n"                                          \
  "// end\n"                                                    \
  "b 90f\n"

// All segments of a block; leaves the wider sums.
#define SHORT_SEGMENTS(name, step, first, more, widen)          \
  PIXEL(0, "movi v20.4s, #0\n" "movi v21.4s, #0\n" "movi v22.4s, #0\n" "movi v23.4s, #0\n") \
  PIXEL(1, "movi v24.4s, #0\n" "movi v25.4s, #0\n" "movi v26.4s, #0\n" "movi v27.4s, #0\n") \
  PIXEL(2, "movi v28.4s, #0\n" "movi v29.4s, #0\n" "movi v30.4s, #0\n" "movi v31.4s, #0\n") \
  "ldrsw %[now], [%[offsets]]\n"                                \
  WEIGHTS(0, 1, 0)                                              \
  OPERANDS(0, 4, "%[now]")                                      \
  OPERANDS(1, 5, "%[now]")                                      \
  OPERANDS(2, 6, "%[now]")                                      \
  "80:\n"                                                       \
  "ldp %w[length], %w[count], [%[segments]], #8\n"              \
  "cmp %w[length], #2\n"                                        \
  "b.lt 1f\n"                                                   \
  "b.eq 2f\n"                                                   \
  "cmp %w[length], #4\n"                                        \
  "b.lt 3f\n"                                                   \
  "b.eq 4f\n"                                                   \
  "cmp %w[length], #6\n"                                        \
  "b.lt 5f\n"                                                   \
  "b.eq 6f\n"                                                   \
  "cmp %w[length], #8\n"                                        \
  "b.lt 7f\n"                                                   \
  "b.eq 8f\n"                                                   \
  "70:\n" /* any other length */                                \
  STEPS_1(step, first, more)                                    \
  "sub %w[left], %w[length], #1\n"                              \
  "71:\n"                                                       \
  "// loop " name "_%c[pixels]_long\n"                          \
  "add %[weights], %[weights], #64\n"                           \
  "add %[offsets], %[offsets], #4\n"                            \
  step(more, 32, 64, 4)                                         \
  "subs %w[left], %w[left], #1\n"                               \
  "b.ne 71b\n"                                                  \
  "// end\n"                                                    \
  END_SEGMENT(widen, 64, 4)                                     \
  "b.ne 70b\n"                                                  \
  "b 90f\n"                                                     \
  SEGMENTS_OF(1, name, STEPS_1(step, first, more), widen, 64, 4)   \
  SEGMENTS_OF(2, name, STEPS_2(step, first, more), widen, 128, 8)  \
  SEGMENTS_OF(3, name, STEPS_3(step, first, more), widen, 192, 12) \
  SEGMENTS_OF(4, name, STEPS_4(step, first, more), widen, 256, 16) \
  SEGMENTS_OF(5, name, STEPS_5(step, first, more), widen, 320, 20) \
  SEGMENTS_OF(6, name, STEPS_6(step, first, more), widen, 384, 24) \
  SEGMENTS_OF(7, name, STEPS_7(step, first, more), widen, 448, 28) \
  SEGMENTS_OF(8, name, STEPS_8(step, first, more), widen, 512, 32) \
  "90:\n"                                                       \
  "cmp %[segments], %[end]\n"                                   \
  "b.ne 80b\n"

// What the assembly reads and changes, by the names that it has there.
#define SHORT_OPERANDS                                                                            \
  : [weights] "+r"(weights), [offsets] "+r"(offsets), [segments] "+r"(segments),                  \
    [now] "=&r"(now), [length] "=&r"(length), [count] "=&r"(count), [left] "=&r"(left)            \
  : [pixels] "i"(kPixels), [end] "r"(block.segments + block.segment_kinds), [sums] "r"(sums),     \
    [p0] "r"(operands[0]), [p1] "r"(operands[1]), [p2] "r"(operands[2])                           \
  : EVERY_VECTOR, "cc", "memory"

// clang-format on

#endif  // ACCQ_KERNELS_AARCH64_SHORT_SEGMENTS_H_
