#ifndef ACCQ_KERNELS_X86_CPU_H_
#define ACCQ_KERNELS_X86_CPU_H_

namespace accq {

// Instructions that this CPU has and whose registers the operating system saves. A compiler's
// __builtin_cpu_supports would do, but which names it knows depends on its version.
struct X86Features {
  bool sse41 = false;        // and SSSE3
  bool avx2 = false;         // and all above
  bool avx_vnni = false;     // and all above
  bool avx512_vnni = false;  // and AVX-512 F, BW and VL, and AVX2
};

const X86Features& Cpu();

inline bool CpuHasSse41() { return Cpu().sse41; }
inline bool CpuHasAvx2() { return Cpu().avx2; }
inline bool CpuHasAvxVnni() { return Cpu().avx_vnni; }
inline bool CpuHasAvx512Vnni() { return Cpu().avx512_vnni; }

// VNNI: sums four products of bytes in 32 bits at once, which int16 sums do not beat.
inline bool CpuHasByteDotProducts() { return CpuHasAvxVnni() || CpuHasAvx512Vnni(); }

}  // namespace accq

#endif  // ACCQ_KERNELS_X86_CPU_H_
