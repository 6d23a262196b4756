#ifndef ACCQ_KERNELS_REFERENCE_H_
#define ACCQ_KERNELS_REFERENCE_H_

#include "kernels/op.h"

namespace accq {

// The contract of op.h in plain loops, for every layer and every CPU.
extern const Kernel kReference;

}  // namespace accq

#endif  // ACCQ_KERNELS_REFERENCE_H_
