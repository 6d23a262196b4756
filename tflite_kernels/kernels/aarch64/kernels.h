#ifndef ACCQ_KERNELS_AARCH64_KERNELS_H_
#define ACCQ_KERNELS_AARCH64_KERNELS_H_

#include "kernels/op.h"

namespace accq {

// Convolution, transposed too, and fully connected layers.
extern const Kernel kNeonSmmla;  // int32 sums
extern const Kernel kNeonSdot;   // the same
extern const Kernel kNeonDot16;  // int8 sums, for weights and operands of about 4 bits

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_KERNELS_H_
