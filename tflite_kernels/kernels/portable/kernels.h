// Kernels in C++ alone, for every CPU.
#ifndef ACCQ_KERNELS_PORTABLE_KERNELS_H_
#define ACCQ_KERNELS_PORTABLE_KERNELS_H_

#include "kernels/op.h"

namespace accq {

// Convolution, transposed too, and fully connected layers: with int16 sums where the compiler was
// told of vectors of 16 bytes, and with int32 ones.
extern const Kernel kPortableDot8;
extern const Kernel kPortableInt32;
extern const Kernel kPortableDepthwise;  // depthwise convolution, multiplier 1

}  // namespace accq

#endif  // ACCQ_KERNELS_PORTABLE_KERNELS_H_
