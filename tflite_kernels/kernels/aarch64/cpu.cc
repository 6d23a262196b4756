#include "kernels/aarch64/cpu.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#if defined(__linux__)  // Android too
#include <fcntl.h>
#include <sys/auxv.h>
#include <unistd.h>
#endif

namespace accq {
namespace {

// Bits of AT_HWCAP and AT_HWCAP2 (Linux, arch/arm64: "ELF hwcaps").
constexpr uint64_t kCpuId = 1u << 11;  // MIDR_EL1 can be read
constexpr uint64_t kSdot = 1u << 20;
constexpr uint64_t kSmmla = 1u << 13;  // of the second

// ARM's: Cortex-A34, A53, A35 and A55, in Arm's order of numbers.
constexpr uint32_t kArm = 0x41;
constexpr uint32_t kInOrderParts[] = {0xD02, 0xD03, 0xD04, 0xD05};

bool IsInOrder(const ArmCore& core) {
  return core.implementer == kArm && std::find(std::begin(kInOrderParts), std::end(kInOrderParts),
                                               core.part) != std::end(kInOrderParts);
}

bool IsSpace(char c) { return c == ' ' || c == '\t'; }

// The hexadecimal number behind "NAME : 0x" if the line has that name.
bool ReadField(const char* line, const char* end, const char* name, uint32_t* value) {
  const size_t length = std::strlen(name);
  if (static_cast<size_t>(end - line) < length || std::memcmp(line, name, length) != 0) {
    return false;
  }
  line += length;
  while (line < end && (IsSpace(*line) || *line == ':')) ++line;
  if (end - line < 3 || line[0] != '0' || (line[1] | 0x20) != 'x') return false;
  uint32_t number = 0;
  int digits = 0;
  for (line += 2; line < end && digits < 8; ++line, ++digits) {
    const char c = *line, letter = static_cast<char>(c | 0x20);
    if (c >= '0' && c <= '9') {
      number = number * 16 + (c - '0');
    } else if (letter >= 'a' && letter <= 'f') {
      number = number * 16 + (letter - 'a' + 10);
    } else {
      break;
    }
  }
  *value = number;
  return digits > 0;
}

#if defined(__linux__)

// An empty list where there is no such file. What lies beyond 64 KiB is not read: hundreds of
// cores, of which the first ones are as good as the rest.
std::vector<ArmCore> CoresOfSystem() {
  const int file = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::vector<char> text(65536);
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = read(file, text.data() + size, text.size() - size);
    if (count <= 0) break;
    size += count;
  }
  close(file);
  return ParseCpuInfo(text.data(), size);
}

ArmFeatures Detect() {
  const uint64_t hwcap = getauxval(AT_HWCAP);
  std::vector<ArmCore> cores = CoresOfSystem();
  if (cores.empty() && (hwcap & kCpuId) != 0) {
    uint64_t midr;  // of the core that this runs on
    asm("mrs %0, midr_el1" : "=r"(midr));
    cores.push_back(CoreOfMidr(midr));
  }
  return FeaturesOf(hwcap, getauxval(AT_HWCAP2), cores);
}

#else

ArmFeatures Detect() {
  ArmFeatures features;  // what the compiler was told
#ifdef __ARM_FEATURE_DOTPROD
  features.dot_products = true;
#ifdef __ARM_FEATURE_MATMUL_INT8
  features.matrix_products = true;
#endif
#endif
  return features;
}

#endif

}  // namespace

std::vector<ArmCore> ParseCpuInfo(const char* text, size_t size) {
  std::vector<ArmCore> cores;
  const char* const end = text + size;
  uint32_t implementer = 0, part = 0;
  while (text < end) {
    const char* line_end = std::find(text, end, '\n');
    ReadField(text, line_end, "CPU implementer", &implementer);  // comes before the part
    if (ReadField(text, line_end, "CPU part", &part)) {
      const bool known = std::any_of(cores.begin(), cores.end(), [&](const ArmCore& core) {
        return core.implementer == implementer && core.part == part;
      });
      if (!known) cores.push_back({implementer, part});
    }
    text = line_end == end ? end : line_end + 1;
  }
  return cores;
}

ArmCore CoreOfMidr(uint64_t midr) {
  return {static_cast<uint32_t>(midr >> 24 & 0xFF), static_cast<uint32_t>(midr >> 4 & 0xFFF)};
}

ArmFeatures FeaturesOf(uint64_t hwcap, uint64_t hwcap2, const std::vector<ArmCore>& cores) {
  ArmFeatures features;
  features.dot_products = (hwcap & kSdot) != 0;
  features.matrix_products = features.dot_products && (hwcap2 & kSmmla) != 0;
  features.in_order = !cores.empty() && std::all_of(cores.begin(), cores.end(), IsInOrder);
  return features;
}

const ArmFeatures& Cpu() {
  static const ArmFeatures features = Detect();
  return features;
}

}  // namespace accq
