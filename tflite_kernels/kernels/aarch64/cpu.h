#ifndef ACCQ_KERNELS_AARCH64_CPU_H_
#define ACCQ_KERNELS_AARCH64_CPU_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace accq {

// The implementer's and the core's number, as /proc/cpuinfo and the register MIDR_EL1 have them.
struct ArmCore {
  uint32_t implementer, part;
};

struct ArmFeatures {
  bool dot_products = false;     // SDOT
  bool matrix_products = false;  // SMMLA, and SDOT
  // Every core runs instructions in program order, and each is known: Cortex-A53 and its like.
  bool in_order = false;
};

const ArmFeatures& Cpu();

inline bool CpuHasSdot() { return Cpu().dot_products; }
inline bool CpuHasSmmla() { return Cpu().matrix_products; }

// The cores of a /proc/cpuinfo, each kind once; none where it says nothing of them, as on other
// machines, in some containers and emulators.
std::vector<ArmCore> ParseCpuInfo(const char* text, size_t size);
ArmCore CoreOfMidr(uint64_t midr);

// What the operating system's feature bits (AT_HWCAP, AT_HWCAP2) and the cores say together.
ArmFeatures FeaturesOf(uint64_t hwcap, uint64_t hwcap2, const std::vector<ArmCore>& cores);

}  // namespace accq

#endif  // ACCQ_KERNELS_AARCH64_CPU_H_
