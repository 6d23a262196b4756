#ifndef ACCQ_KERNELS_SSE41_KERNELS_H_
#define ACCQ_KERNELS_SSE41_KERNELS_H_

#include "kernels/op.h"

namespace accq {

extern const Kernel kSse41K4N16;  // convolution, transposed too, and fully connected layers

}  // namespace accq

#endif  // ACCQ_KERNELS_SSE41_KERNELS_H_
