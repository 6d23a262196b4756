// Functions of inner loops. They must be inlined not only for speed: a copy that is compiled for an
// instruction set could become the one that the linker keeps for all files.
#ifndef ACCQ_KERNELS_INLINE_H_
#define ACCQ_KERNELS_INLINE_H_

#define ACCQ_INLINE __attribute__((always_inline))

#endif  // ACCQ_KERNELS_INLINE_H_
