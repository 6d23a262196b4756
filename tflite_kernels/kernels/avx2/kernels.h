#ifndef ACCQ_KERNELS_AVX2_KERNELS_H_
#define ACCQ_KERNELS_AVX2_KERNELS_H_

#include "kernels/op.h"

namespace accq {

extern const Kernel kAvx2K4N16;      // convolution, transposed too, and fully connected layers
extern const Kernel kAvx2Depthwise;  // depthwise convolution with a depth multiplier of 1

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_KERNELS_H_
