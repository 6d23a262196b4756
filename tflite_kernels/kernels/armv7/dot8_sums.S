// The sums of dot8_tile.cc, by hand: with half of 64-bit ARM's registers, compilers keep the sums of
// two pixels in memory.
//
// A step is 64 bytes of weights, 16 for each of 4 channels, for 16 bytes of each pixel. VMLAL.S8
// multiplies 8 of them into 8 int16 lanes; the second 8 go to the same lanes. Four registers of
// weights are read in halves, the second while the first is at work.
//
//   r0  Dot8Work         r3  first pixel            r5, r6  segments left: where, kinds
//   r1  weights          r4  from it to the second  r7, r8  their length and number
//   r2  offsets          lr  int32 sums             r9      steps left; r10, r11 offsets; r12 x
//
//   q0-q3  weights of the channels    q4, q5  operands of the pixels; q6, q7 of the next step
//   q8-q11, q12-q15  int16 sums of the first and of the second pixel
//
// Weights and sums are aligned to 64 bytes, operands not at all.

  .syntax unified
  .arch armv7-a
  .fpu neon
  .arm
  .text

// Offsets in Dot8Work.
#define STEPS 0
#define OFFSETS 4
#define SEGMENTS 8
#define KINDS 12
#define FIRST 16
#define TO_SECOND 20
#define SUMS 24

.macro begin name
  .p2align 4
  .global \name
  .hidden \name
  .type \name, %function
\name:
  push {r4-r11, lr}
  vpush {d8-d15}
  ldr r1, [r0, #STEPS]
  ldr r2, [r0, #OFFSETS]
  ldr r3, [r0, #FIRST]
  ldr lr, [r0, #SUMS]
.endm

.macro end name
  vpop {d8-d15}
  pop {r4-r11, pc}
  .size \name, . - \name
.endm

.macro load_first_weights
  vld1.8 {d0-d3}, [r1:256]!
.endm

.macro load_second_weights
  vld1.8 {d4-d7}, [r1:256]!
.endm

// ---- Two pixels -------------------------------------------------------------------------------

.macro load_pixels offset, a, b, c, d
  add r12, r3, \offset
  vld1.8 {\a, \b}, [r12], r4
  vld1.8 {\c, \d}, [r12]
.endm

// The step whose operands are in a, b and c, d, and whose first weights are loaded.
.macro multiply_first_half op, a, b, c, d
  \op q8, \a, d0
  \op q9, \a, d2
  \op q12, \c, d0
  \op q13, \c, d2
  load_second_weights
  vmlal.s8 q8, \b, d1
  vmlal.s8 q9, \b, d3
  vmlal.s8 q12, \d, d1
  vmlal.s8 q13, \d, d3
.endm

.macro multiply_second_half op, a, b, c, d
  \op q10, \a, d4
  \op q11, \a, d6
  \op q14, \c, d4
  \op q15, \c, d6
  vmlal.s8 q10, \b, d5
  vmlal.s8 q11, \b, d7
  vmlal.s8 q14, \d, d5
  vmlal.s8 q15, \d, d7
.endm

.macro single_step op
  ldr r10, [r2], #4
  load_pixels r10, d8, d9, d10, d11
  load_first_weights
  multiply_first_half \op, d8, d9, d10, d11
  multiply_second_half \op, d8, d9, d10, d11
.endm

// The int32 sums are in memory. To keep them in registers, widening at every step, takes 12 % fewer
// instructions where a segment has one step and 5 % more where it has two; of cycles, in LLVM's
// model of Cortex-A9, 5 % fewer and 17 % more, and in that of A57, 16 % fewer and as many.
begin accq_dot8_2
  ldr r4, [r0, #TO_SECOND]
  ldr r5, [r0, #SEGMENTS]
  ldr r6, [r0, #KINDS]
  vmov.i32 q0, #0
  vmov.i32 q1, #0
  vmov.i32 q2, #0
  vmov.i32 q3, #0
  vstm lr, {d0-d7}
  add r12, lr, #64
  vstm r12, {d0-d7}
1:
  ldm r5!, {r7, r8}
2:
  single_step vmull.s8
  subs r9, r7, #1
  beq 5f
  tst r9, #1
  beq 3f
  single_step vmlal.s8
  subs r9, r9, #1
  beq 5f
3:
  ldrd r10, r11, [r2], #8
  load_pixels r10, d8, d9, d10, d11
  load_first_weights
4:
  multiply_first_half vmlal.s8, d8, d9, d10, d11
  load_pixels r11, d12, d13, d14, d15
  load_first_weights
  multiply_second_half vmlal.s8, d8, d9, d10, d11
  multiply_first_half vmlal.s8, d12, d13, d14, d15
  subs r9, r9, #2
  multiply_second_half vmlal.s8, d12, d13, d14, d15
  bne 3b
5:
  vldm lr, {d0-d15}
  vpadal.s16 q0, q8
  vpadal.s16 q1, q9
  vpadal.s16 q2, q10
  vpadal.s16 q3, q11
  vpadal.s16 q4, q12
  vpadal.s16 q5, q13
  vpadal.s16 q6, q14
  vpadal.s16 q7, q15
  vstm lr, {d0-d15}
  subs r8, r8, #1
  bne 2b
  subs r6, r6, #1
  bne 1b
end accq_dot8_2

// ---- One pixel: registers hold both kinds of sums, int32 ones in q12-q15 ------------------------

.macro single_pixel_step op
  ldr r10, [r2], #4
  add r12, r3, r10
  vld1.8 {d8, d9}, [r12]
  load_first_weights
  load_second_weights
  \op q8, d8, d0
  \op q9, d8, d2
  \op q10, d8, d4
  \op q11, d8, d6
  vmlal.s8 q8, d9, d1
  vmlal.s8 q9, d9, d3
  vmlal.s8 q10, d9, d5
  vmlal.s8 q11, d9, d7
.endm

begin accq_dot8_1
  ldr r5, [r0, #SEGMENTS]
  ldr r6, [r0, #KINDS]
  vmov.i32 q12, #0
  vmov.i32 q13, #0
  vmov.i32 q14, #0
  vmov.i32 q15, #0
1:
  ldm r5!, {r7, r8}
2:
  single_pixel_step vmull.s8
  subs r9, r7, #1
  beq 4f
3:
  subs r9, r9, #1
  single_pixel_step vmlal.s8
  bne 3b
4:
  vpadal.s16 q12, q8
  vpadal.s16 q13, q9
  vpadal.s16 q14, q10
  vpadal.s16 q15, q11
  subs r8, r8, #1
  bne 2b
  subs r6, r6, #1
  bne 1b
  vstm lr, {d24-d31}
end accq_dot8_1

  .section .note.GNU-stack, "", %progbits
