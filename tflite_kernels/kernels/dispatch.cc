#ifdef ACCQ_X86
#include "kernels/avx2/kernels.h"
#include "kernels/sse41/kernels.h"
#endif
#ifdef ACCQ_VNNI
#include "kernels/vnni/kernels.h"
#endif
#ifdef ACCQ_AARCH64
#include "kernels/aarch64/kernels.h"
#endif
#ifdef ACCQ_NEON
#include "kernels/neon/kernels.h"
#endif
#include "kernels/op.h"
#include "kernels/portable/kernels.h"
#include "kernels/reference.h"

namespace accq {

const std::vector<const Kernel*>& KernelTable() {
  static const std::vector<const Kernel*> table = {
#ifdef ACCQ_VNNI
      &kAvx512VnniK4N32,  // convolution, transposed too, and fully connected; int32 sums
      &kAvxVnniK4N16,     // the same
#endif
#ifdef ACCQ_X86
      &kAvx2K4N16,      // the same; int16 sums, as all below
      &kAvx2Depthwise,  // depthwise convolution, multiplier 1
      &kSse41K4N16,     // as avx2_k4n16
#endif
#ifdef ACCQ_AARCH64
      &kNeonSmmla,  // as avx512vnni_k4n32, with int32 sums
      &kNeonSdot,   // the same
      &kNeonDot16,  // the same, of about 4 bits; int8 sums
#endif
#ifdef ACCQ_NEON
      &kNeonDot8,       // as avx2_k4n16
      &kNeonDepthwise,  // as avx2_dw
#endif
#ifndef __aarch64__         // where every CPU has NEON
      &kPortableDot8,       // as neon_dot8, where there are vectors
      &kPortableInt32,      // the same; int32 sums
      &kPortableDepthwise,  // as avx2_dw
#endif
      &kReference,  // everything, everywhere
  };
  return table;
}

const Kernel* ChooseKernel(const OpSpec& spec, const std::string& forced, std::string* error) {
  std::string names;
  for (const Kernel* kernel : KernelTable()) {
    names += std::string(names.empty() ? "" : ", ") + kernel->name;
    if (!forced.empty() && forced != kernel->name) continue;
    const bool cpu = kernel->supported_cpu(), layer = kernel->handles(spec);
    if (cpu && layer) return kernel;
    if (!forced.empty()) {
      *error = "the kernel '" + forced + "' " +
               (cpu ? "does not implement this layer" : "needs instructions this CPU lacks");
      return nullptr;
    }
  }
  *error = "there is no kernel '" + forced + "'; expected one of: " + names;
  return nullptr;
}

}  // namespace accq
