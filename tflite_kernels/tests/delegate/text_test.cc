#include "delegate/text.h"

#include <gtest/gtest.h>

namespace accq {
namespace {

TEST(Text, FormatsAnyLength) {
  EXPECT_EQ(Format("%d %s", 7, "x"), "7 x");
  EXPECT_EQ(Format("%s", ""), "");
  EXPECT_EQ(Format("%s", std::string(5000, 'a').c_str()).size(), 5000u);
}

TEST(Text, PrintableKeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(Printable(nullptr), "");
  EXPECT_EQ(Printable("conv/\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
            "conv/\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(Printable("a\nb\x7F"), "a?b?");
  EXPECT_EQ(Printable("\xC3"), "?");                 // cut off
  EXPECT_EQ(Printable("\xE2\x82"), "??");            // cut off
  EXPECT_EQ(Printable("\xC0\xAF"), "??");            // overlong
  EXPECT_EQ(Printable("\xED\xA0\x80"), "???");       // a surrogate
  EXPECT_EQ(Printable("\xF4\x90\x80\x80"), "????");  // beyond Unicode
}

TEST(Text, ShortNamesAreCutBetweenCharacters) {
  EXPECT_EQ(ShortName("short"), "short");
  std::string name = "x";
  for (int i = 0; i < 99; ++i) name += "\xC3\xA9";
  const std::string cut = ShortName(name.c_str());
  EXPECT_LE(cut.size(), 103u);
  EXPECT_EQ(Printable(cut.c_str()), cut);
}

TEST(Text, JsonStringsAreQuoted) { EXPECT_EQ(JsonString("a\"b\\c"), "\"a\\\"b\\\\c\""); }

}  // namespace
}  // namespace accq
