#ifndef ACCQ_KERNELS_AVX2_CPU_H_
#define ACCQ_KERNELS_AVX2_CPU_H_

namespace accq {

inline bool CpuHasAvx2() { return __builtin_cpu_supports("avx2"); }

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_CPU_H_
