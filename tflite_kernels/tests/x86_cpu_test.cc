#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "kernels/x86/cpu.h"

namespace accq {
namespace {

// The flags that Linux lists, which are none that it does not save registers for.
std::set<std::string> LinuxFlags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(X86CpuTest, AgreesWithLinux) {
  const std::set<std::string> flags = LinuxFlags();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo lists no flags";
  const auto all = [&](const std::set<std::string>& names) {
    for (const std::string& name : names) {
      if (flags.count(name) == 0) return false;
    }
    return true;
  };
  EXPECT_EQ(Cpu().sse41, all({"ssse3", "sse4_1"}));
  EXPECT_EQ(Cpu().avx2, all({"ssse3", "sse4_1", "avx", "avx2"}));
  EXPECT_EQ(Cpu().avx_vnni, all({"avx2", "avx_vnni"}));
  EXPECT_EQ(Cpu().avx512_vnni, all({"avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"}));
}

}  // namespace
}  // namespace accq
