#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/aarch64/cpu.h"

namespace accq {
namespace {

constexpr uint64_t kAsimdDp = 1u << 20, kI8mm = 1u << 13;

std::vector<ArmCore> Parse(const std::string& text) {
  // A copy that ends where the text does, so that a sanitizer notices reads behind it.
  const std::vector<char> copy(text.begin(), text.end());
  return ParseCpuInfo(copy.data(), copy.size());
}

bool InOrder(const std::string& text) { return FeaturesOf(0, 0, Parse(text)).in_order; }

std::string Core(const std::string& part, const std::string& implementer = "0x41") {
  return "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: " + implementer +
         "\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: " + part +
         "\nCPU revision\t: 4\n\n";
}

TEST(Aarch64CpuTest, ReadsEachKindOfCoreOnce) {
  const std::vector<ArmCore> cores = Parse(Core("0xd03") + Core("0xd03") + Core("0xd09"));
  ASSERT_EQ(cores.size(), 2u);
  EXPECT_EQ(cores[0].implementer, 0x41u);
  EXPECT_EQ(cores[0].part, 0xD03u);
  EXPECT_EQ(cores[1].part, 0xD09u);
}

TEST(Aarch64CpuTest, InOrderOnlyIfEveryCoreIs) {
  EXPECT_TRUE(InOrder(Core("0xd03")));
  EXPECT_TRUE(InOrder(Core("0xd03") + Core("0xd04")));
  EXPECT_FALSE(InOrder(Core("0xd08")));
  EXPECT_FALSE(InOrder(Core("0xd03") + Core("0xd09")));  // big.LITTLE
  EXPECT_FALSE(InOrder(Core("0xd03", "0x51")));          // another maker's number
}

TEST(Aarch64CpuTest, SurvivesOddFiles) {
  for (const char* text :
       {"", "\n\n", "CPU part", "CPU part\t:", "CPU part\t: 0x", "CPU part\t: d03",
        "CPU part\t: 0xzz\n", "processor : 0\nmodel name : Intel\nflags : sse\n",
        "CPU implementer\t: 0x41", "xCPU part : 0xd03"}) {
    EXPECT_TRUE(Parse(text).empty()) << text;
    EXPECT_FALSE(InOrder(text)) << text;
  }
  EXPECT_EQ(Parse("CPU part : 0xD03").size(), 1u);  // no newline, other spaces and letters
  EXPECT_EQ(Parse("CPU part : 0x123456789abcdef\n").size(), 1u);
}

TEST(Aarch64CpuTest, ReadsMidr) {
  const ArmCore core = CoreOfMidr(0x410FD034);  // Cortex-A53 r0p4
  EXPECT_EQ(core.implementer, 0x41u);
  EXPECT_EQ(core.part, 0xD03u);
}

TEST(Aarch64CpuTest, TakesInstructionsFromTheFeatureBits) {
  EXPECT_FALSE(FeaturesOf(0, kI8mm, {}).dot_products);
  EXPECT_FALSE(FeaturesOf(0, kI8mm, {}).matrix_products);
  EXPECT_TRUE(FeaturesOf(kAsimdDp, 0, {}).dot_products);
  EXPECT_FALSE(FeaturesOf(kAsimdDp, 0, {}).matrix_products);
  EXPECT_TRUE(FeaturesOf(kAsimdDp, kI8mm, {}).matrix_products);
}

}  // namespace
}  // namespace accq
