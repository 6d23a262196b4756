#ifndef ACCQ_KERNELS_CONV_OP_H_
#define ACCQ_KERNELS_CONV_OP_H_

#include "kernels/op.h"

namespace accq {

// Convolution (groups, strides, dilation) and fully connected layers.
extern const Kernel kAvx2K4N16;

}  // namespace accq

#endif  // ACCQ_KERNELS_CONV_OP_H_
