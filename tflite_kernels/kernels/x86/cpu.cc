#include "kernels/x86/cpu.h"

#include <cpuid.h>

#include <cstdint>

namespace accq {
namespace {

// Bit numbers of CPUID and XCR0: Intel's Software Developer's Manual, volumes 1 (13.2) and 2A
// (CPUID, leaves 01H and 07H).
struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

// All zero where the CPU has no such leaf.
Registers CpuId(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (__get_cpuid_max(0, nullptr) >= leaf) __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
}

bool Bits(uint32_t value, uint32_t bits) { return (value & bits) == bits; }
constexpr uint32_t Bit(int i) { return uint32_t{1} << i; }

// The registers that the operating system saves. Only where CPUID says that it uses XSAVE.
uint32_t SavedRegisters() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

X86Features Detect() {
  X86Features cpu;
  const Registers basic = CpuId(1, 0);
  cpu.sse41 = Bits(basic.c, Bit(9) | Bit(19));  // SSSE3, SSE4.1
  const bool xsave = Bits(basic.c, Bit(27));
  const uint32_t saved = xsave ? SavedRegisters() : 0;
  const bool saves_ymm = Bits(saved, Bit(1) | Bit(2));
  const bool saves_zmm = saves_ymm && Bits(saved, Bit(5) | Bit(6) | Bit(7));
  const Registers more = CpuId(7, 0);
  cpu.avx2 = cpu.sse41 && saves_ymm && Bits(basic.c, Bit(28)) && Bits(more.b, Bit(5));
  cpu.avx512_vnni = cpu.avx2 && saves_zmm &&
                    Bits(more.b, Bit(16) | Bit(30) | Bit(31)) &&  // F, BW, VL
                    Bits(more.c, Bit(11));
  // Leaf 7 tells in A how many subleaves it has.
  cpu.avx_vnni = cpu.avx2 && more.a >= 1 && Bits(CpuId(7, 1).a, Bit(4));
  return cpu;
}

}  // namespace

const X86Features& Cpu() {
  static const X86Features cpu = Detect();
  return cpu;
}

}  // namespace accq
