// Kernels for CPUs whose VNNI instructions add four products of bytes to an int32 sum at once:
// convolution, transposed too, and fully connected layers.
#ifndef ACCQ_KERNELS_VNNI_KERNELS_H_
#define ACCQ_KERNELS_VNNI_KERNELS_H_

#include "kernels/op.h"

namespace accq {

extern const Kernel kAvx512VnniK4N32;
extern const Kernel kAvxVnniK4N16;

}  // namespace accq

#endif  // ACCQ_KERNELS_VNNI_KERNELS_H_
