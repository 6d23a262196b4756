#ifndef ACCQ_TESTS_AVX_VNNI_TWIN_H_
#define ACCQ_TESTS_AVX_VNNI_TWIN_H_

#include "kernels/op.h"

namespace accq {

// avxvnni_k4n16 with its instruction encoded as CPUs with AVX512-VNNI know it: most CPUs that tests
// run on have one encoding or the other.
extern const Kernel kAvxVnniTwin;

}  // namespace accq

#endif  // ACCQ_TESTS_AVX_VNNI_TWIN_H_
