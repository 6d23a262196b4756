#include "delegate/flexbuffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/delegate/flex_writer.h"

namespace accq {
namespace {

// Reads from a block of exactly the blob's size, so that a sanitizer sees any read outside.
bool Read(const std::vector<uint8_t>& blob, OptionMap* values, std::string* error) {
  std::unique_ptr<uint8_t[]> exact(new uint8_t[blob.size()]);
  std::copy(blob.begin(), blob.end(), exact.get());
  std::vector<FlexEntry> entries;
  const bool good = ReadFlexMap(exact.get(), blob.size(), &entries, error);
  values->clear();
  if (!good) return false;
  for (const FlexEntry& entry : entries) (*values)[entry.key] = entry.value;
  EXPECT_EQ(values->size(), entries.size());
  return true;
}

const OptionMap kSample = {{"a", -1}, {"activation", 3}, {"b", 127}, {"version", 1}};

TEST(FlexBuffer, ReadsEveryWidth) {
  for (const size_t width : {1, 2, 4, 8}) {
    OptionMap values;
    std::string error;
    ASSERT_TRUE(Read(WriteFlexMap(kSample, width), &values, &error)) << width << error;
    EXPECT_EQ(values, kSample);
  }
}

TEST(FlexBuffer, ReadsTheExtremes) {
  const OptionMap extremes = {{"high", INT64_MAX}, {"low", INT64_MIN}};
  OptionMap values;
  std::string error;
  ASSERT_TRUE(Read(WriteFlexMap(extremes, 8), &values, &error)) << error;
  EXPECT_EQ(values, extremes);
}

TEST(FlexBuffer, ReadsAnEmptyMap) {
  OptionMap values;
  std::string error;
  EXPECT_TRUE(Read(WriteFlexMap({}), &values, &error)) << error;
  EXPECT_TRUE(values.empty());
}

// flexbuffers.Dumps({"b": 2, "a": -3}) of the Python package flatbuffers 25.12.19.
TEST(FlexBuffer, ReadsWhatPythonWrites) {
  const std::vector<uint8_t> blob = {'b', 0, 'a', 0, 2, 3, 6, 2, 1, 2, 0xFD, 2, 4, 4, 4, 36, 1};
  OptionMap values;
  std::string error;
  ASSERT_TRUE(Read(blob, &values, &error)) << error;
  EXPECT_EQ(values, (OptionMap{{"a", -3}, {"b", 2}}));
}

TEST(FlexBuffer, RefusesEveryTruncation) {
  for (const size_t width : {1, 2, 4, 8}) {
    const std::vector<uint8_t> blob = WriteFlexMap(kSample, width);
    for (size_t size = 0; size < blob.size(); ++size) {
      OptionMap values;
      std::string error;
      // Some truncations may form another map by chance, but never one with these entries.
      if (Read({blob.begin(), blob.begin() + static_cast<long>(size)}, &values, &error)) {
        EXPECT_NE(values, kSample) << size;
      } else {
        EXPECT_NE(error.find("not a FlexBuffer map"), std::string::npos) << error;
      }
    }
  }
}

TEST(FlexBuffer, SurvivesEveryMutationOfAByte) {
  for (const size_t width : {1, 4}) {
    const std::vector<uint8_t> blob = WriteFlexMap(kSample, width);
    for (size_t place = 0; place < blob.size(); ++place) {
      for (int byte = 0; byte < 256; ++byte) {
        std::vector<uint8_t> mutated = blob;
        mutated[place] = static_cast<uint8_t>(byte);
        OptionMap values;
        std::string error;
        EXPECT_TRUE(Read(mutated, &values, &error) || !error.empty());
      }
    }
  }
}

TEST(FlexBuffer, SurvivesRandomBytes) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    std::vector<uint8_t> blob(random() % 40);
    for (uint8_t& byte : blob) byte = static_cast<uint8_t>(random() % (i % 2 == 0 ? 256 : 8));
    if (blob.size() >= 2) {  // look like a map at the end, to get further
      blob[blob.size() - 1] = 1;
      blob[blob.size() - 2] = static_cast<uint8_t>(9 << 2 | random() % 4);
    }
    OptionMap values;
    std::string error;
    EXPECT_TRUE(Read(blob, &values, &error) || !error.empty());
  }
}

TEST(FlexBuffer, RefusesOtherTypesOfValues) {
  const std::vector<uint8_t> blob = WriteFlexMap({{"key", 1}}, 1);
  const size_t type = blob.size() - 4;  // before the root: offset, type, width
  ASSERT_EQ(blob[type], 1 << 2);
  for (int kind = 0; kind < 64; ++kind) {
    std::vector<uint8_t> mutated = blob;
    mutated[type] = static_cast<uint8_t>(kind << 2);
    OptionMap values;
    std::string error;
    const bool integer = kind == 1 || kind == 2;
    EXPECT_EQ(Read(mutated, &values, &error), integer) << kind;
    const std::string expected = integer ? "" : "the option \"key\" is not an integer";
    EXPECT_EQ(error, expected);
  }
}

TEST(FlexBuffer, UnsignedValuesStayPositive) {
  std::vector<uint8_t> blob = WriteFlexMap({{"key", -1}}, 8);
  blob[blob.size() - 11] = 2 << 2 | 3;  // before the root's 8 + 2 bytes
  OptionMap values;
  std::string error;
  ASSERT_TRUE(Read(blob, &values, &error)) << error;
  EXPECT_EQ(values["key"], INT64_MAX);
}

TEST(FlexBuffer, RefusesAKeyThatStandsTwice) {
  std::vector<uint8_t> blob = WriteFlexMap({{"a", 1}, {"b", 2}}, 1);
  blob[2] = 'a';
  OptionMap values;
  std::string error;
  EXPECT_FALSE(Read(blob, &values, &error));
  EXPECT_NE(error.find("a key stands twice"), std::string::npos) << error;
}

TEST(FlexBuffer, RefusesNothing) {
  std::vector<FlexEntry> entries;
  std::string error;
  EXPECT_FALSE(ReadFlexMap(nullptr, 100, &entries, &error));
}

}  // namespace
}  // namespace accq
