#ifndef ACCQ_KERNELS_AARCH64_KERNELS_H_
#define ACCQ_KERNELS_AARCH64_KERNELS_H_

#include "kernels/op.h"

namespace accq {

// Convolution, transposed too, and fully connected layers; int32 sums.
extern const Kernel kNeonSmmla;
extern const Kernel kNeonSdot;

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_KERNELS_H_
