#ifndef ACCQ_KERNELS_DEPTHWISE_OP_H_
#define ACCQ_KERNELS_DEPTHWISE_OP_H_

#include "kernels/op.h"

namespace accq {

// Depthwise convolution with a depth multiplier of 1.
extern const Kernel kAvx2Depthwise;

}  // namespace accq

#endif  // ACCQ_KERNELS_DEPTHWISE_OP_H_
