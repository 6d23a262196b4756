#include "delegate/delegate_options.h"

#include <gtest/gtest.h>

#include <vector>

namespace accq {
namespace {

using Pairs = std::vector<std::pair<const char*, const char*>>;

// The error text, empty when the options were accepted.
std::string Parse(const Pairs& pairs, DelegateOptions* options) {
  std::vector<const char*> keys, values;
  for (const auto& pair : pairs) {
    keys.push_back(pair.first);
    values.push_back(pair.second);
  }
  std::string error;
  const bool good = ParseDelegateOptions(keys.data(), values.data(), keys.size(), options, &error);
  EXPECT_EQ(good, error.empty());
  return error;
}

TEST(DelegateOptions, NoneGivesTheDefaults) {
  DelegateOptions options;
  EXPECT_EQ(Parse({}, &options), "");
  EXPECT_EQ(options.kernel, "");
  EXPECT_EQ(options.report_path, "");
  EXPECT_FALSE(options.verbose);
  EXPECT_FALSE(options.claim_builtin);
  EXPECT_EQ(options.threads, 0);
}

TEST(DelegateOptions, ReadsEach) {
  DelegateOptions options;
  const std::string path = testing::TempDir() + "accq_options_test.jsonl";
  EXPECT_EQ(Parse({{"kernel", "reference"}, {"report_path", path.c_str()}, {"verbose", "True"}},
                  &options),
            "");
  EXPECT_EQ(options.kernel, "reference");
  EXPECT_EQ(options.report_path, path);
  EXPECT_TRUE(options.verbose);
  EXPECT_EQ(Parse({{"verbose", "0"}}, &options), "");
  EXPECT_FALSE(options.verbose);
  EXPECT_EQ(Parse({{"claim", "builtin"}, {"threads", "12"}}, &options), "");
  EXPECT_TRUE(options.claim_builtin);
  EXPECT_EQ(options.threads, 12);
  EXPECT_EQ(Parse({{"claim", "custom"}, {"threads", "0"}}, &options), "");
  EXPECT_FALSE(options.claim_builtin);
  EXPECT_EQ(options.threads, 0);
}

TEST(DelegateOptions, RefusesWithATextThatNamesTheOption) {
  const struct {
    const char *key, *value, *text;
  } cases[] = {
      {"speed", "4", "unknown option \"speed\"; there are claim, kernel"},
      {"claim", "all", "option claim: expected custom or builtin, got \"all\""},
      {"claim", "", "expected custom or builtin"},
      {"threads", "-1", "option threads: expected 0 to 64, got \"-1\""},
      {"threads", "65", "expected 0 to 64"},
      {"threads", "4294967297", "expected 0 to 64"},
      {"threads", "", "expected 0 to 64"},
      {"threads", "2 ", "expected 0 to 64"},
      {"", "4", "unknown option \"\""},
      {"kernel", "fastest", "there is no \"fastest\"; this build has: "},
      {"kernel", "", "there is no \"\""},
      {"report_path", "", "can not be opened for writing"},
      {"report_path", "/nonexistent/x", "\"/nonexistent/x\" can not be opened"},
      {"verbose", "2", "expected 0 or 1, got \"2\""},
      {"verbose", "", "expected 0 or 1"},
      {"kernel", nullptr, "no name or no value"},
      {nullptr, "1", "no name or no value"},
  };
  for (const auto& c : cases) {
    DelegateOptions options;
    const std::string error = Parse({{c.key, c.value}}, &options);
    EXPECT_NE(error.find(c.text), std::string::npos) << error;
  }
}

TEST(DelegateOptions, RefusesMissingArrays) {
  DelegateOptions options;
  std::string error;
  EXPECT_FALSE(ParseDelegateOptions(nullptr, nullptr, 1, &options, &error));
  EXPECT_TRUE(ParseDelegateOptions(nullptr, nullptr, 0, &options, &error));
}

}  // namespace
}  // namespace accq
