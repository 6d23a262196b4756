#ifndef ACCQ_KERNELS_AVX2_CPU_H_
#define ACCQ_KERNELS_AVX2_CPU_H_

namespace accq {

inline bool CpuHasAvx2() { return __builtin_cpu_supports("avx2"); }

// VNNI: sums four products of bytes in 32 bits at once, which int16 sums do not beat.
inline bool CpuHasByteDotProducts() {
  return __builtin_cpu_supports("avx512vnni") || __builtin_cpu_supports("avxvnni");
}

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_CPU_H_
