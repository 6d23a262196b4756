#include "delegate/op_options.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "tests/delegate/flex_writer.h"

namespace accq {
namespace {

std::vector<uint8_t> FromHex(const char* hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < strlen(hex); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(hex + i, 2), nullptr, 16)));
  }
  return bytes;
}

bool Parse(OpKind kind, const std::vector<uint8_t>& blob, OpOptions* options, std::string* error) {
  std::unique_ptr<uint8_t[]> exact(new uint8_t[blob.size()]);
  std::copy(blob.begin(), blob.end(), exact.get());
  return ParseOpOptions(kind, exact.get(), blob.size(), options, error);
}

// The error text, empty when the options were accepted.
std::string Error(OpKind kind, OptionMap values) {
  values.insert({"version", 1});
  OpOptions options;
  std::string error;
  const bool good = Parse(kind, WriteFlexMap(values, 8), &options, &error);
  EXPECT_EQ(good, error.empty());
  return error;
}

// Blobs that released versions wrote: they must be read forever.
// Format version 1, keras_accq.tflite.options.encode of keras-accq 0.1.
constexpr char kConv1[] =
    "76657273696f6e006163635f6269747300706172746974696f6e00706172746974696f6e5f73697a6500696e"
    "5f6d696e00696e5f6d6178006f75745f6d696e006f75745f6d61780061637469766174696f6e007061646469"
    "6e67007374726964655f68007374726964655f770064696c6174696f6e5f680064696c6174696f6e5f77000e"
    "7c3d190f575f4a53397c73342c910e0001000e000e00030001002c010700f8ff640080ff0100020040000200"
    "0300010005050505050505050505050505052a2501";
constexpr char kDepthwise1[] =
    "76657273696f6e006163635f6269747300706172746974696f6e00706172746974696f6e5f73697a6500696e"
    "5f6d696e00696e5f6d6178006f75745f6d696e006f75745f6d61780061637469766174696f6e007061646469"
    "6e67007374726964655f68007374726964655f770064696c6174696f6e5f680064696c6174696f6e5f770064"
    "657074685f6d756c7469706c696572000f8d4e142b2169715c654b8e85463ea30f010f10000201017f807f80"
    "0000000101010404040404040404040404040404041e2401";
constexpr char kFullyConnected1[] =
    "76657273696f6e006163635f6269747300706172746974696f6e00706172746974696f6e5f73697a6500696e"
    "5f6d696e00696e5f6d6178006f75745f6d696e006f75745f6d61780061637469766174696f6e006b6565705f"
    "6e756d5f64696d7300666f726d000b5f20083941192d365e55710b010b1000017f80017f8001000104040404"
    "04040404040404162401";

constexpr char kTransposed1[] =
    "76657273696f6e006163635f6269747300706172746974696f6e00706172746974696f6e5f73697a650069"
    "6e5f6d696e00696e5f6d6178006f75745f6d696e006f75745f6d61780061637469766174696f6e00706164"
    "64696e67007374726964655f68007374726964655f77000c66273f47323b21645b1c14790c010c0e0307f8"
    "649c010240020301040404040404040404040404182401";

TEST(OpOptions, ReadsTheGoldenConvolution) {
  OpOptions options;
  std::string error;
  ASSERT_TRUE(Parse(OpKind::kConv2D, FromHex(kConv1), &options, &error)) << error;
  EXPECT_EQ(options.acc_bits, 14);
  EXPECT_EQ(options.partition, 2);
  EXPECT_EQ(options.partition_size, 64);
  EXPECT_EQ(options.in_min, -8);
  EXPECT_EQ(options.in_max, 7);
  EXPECT_EQ(options.out_min, -128);
  EXPECT_EQ(options.out_max, 100);
  EXPECT_EQ(options.activation, 3);
  EXPECT_EQ(options.padding, 1);
  EXPECT_EQ(options.stride_h, 2);
  EXPECT_EQ(options.stride_w, 3);
  EXPECT_EQ(options.dilation_h, 1);
  EXPECT_EQ(options.dilation_w, 300);
}

TEST(OpOptions, ReadsTheGoldenDepthwiseConvolution) {
  OpOptions options;
  std::string error;
  ASSERT_TRUE(Parse(OpKind::kDepthwiseConv2D, FromHex(kDepthwise1), &options, &error)) << error;
  EXPECT_EQ(options.depth_multiplier, 2);
  EXPECT_EQ(options.padding, 0);
  EXPECT_EQ(options.acc_bits, 16);
}

TEST(OpOptions, ReadsTheGoldenFullyConnected) {
  OpOptions options;
  std::string error;
  ASSERT_TRUE(Parse(OpKind::kFullyConnected, FromHex(kFullyConnected1), &options, &error)) << error;
  EXPECT_EQ(options.keep_num_dims, 1);
  EXPECT_EQ(options.form, 1);
  EXPECT_EQ(options.partition, 1);
}

TEST(OpOptions, ReadsTheGoldenTransposedConvolution) {
  OpOptions options;
  std::string error;
  ASSERT_TRUE(Parse(OpKind::kTransposeConv, FromHex(kTransposed1), &options, &error)) << error;
  EXPECT_EQ(options.acc_bits, 14);
  EXPECT_EQ(options.partition_size, 64);
  EXPECT_EQ(options.padding, 1);
  EXPECT_EQ(options.stride_h, 2);
  EXPECT_EQ(options.stride_w, 3);
  EXPECT_EQ(options.out_max, 100);
}

TEST(OpOptions, MissingKeysHaveDefaults) {
  OpOptions options;
  options.stride_h = options.in_min = 77;
  std::string error;
  ASSERT_TRUE(Parse(OpKind::kConv2D, WriteFlexMap({{"version", 1}}), &options, &error)) << error;
  EXPECT_EQ(options.stride_h, 1);
  EXPECT_EQ(options.in_min, -128);
  EXPECT_EQ(options.in_max, 127);
  EXPECT_EQ(options.acc_bits, 16);
}

TEST(OpOptions, ChecksTheRangeOfEveryKey) {
  const struct {
    OpKind kind;
    const char* key;
    int64_t low, high;
  } cases[] = {
      {OpKind::kConv2D, "acc_bits", 2, 32},
      {OpKind::kConv2D, "partition", 0, 1},  // 2 and 3 need a size
      {OpKind::kConv2D, "in_min", -128, 127},
      {OpKind::kConv2D, "in_max", -128, 127},
      {OpKind::kConv2D, "out_min", -128, 127},
      {OpKind::kConv2D, "out_max", -128, 127},
      {OpKind::kConv2D, "activation", 0, 3},
      {OpKind::kConv2D, "padding", 0, 1},
      {OpKind::kConv2D, "stride_h", 1, INT32_MAX},
      {OpKind::kConv2D, "stride_w", 1, INT32_MAX},
      {OpKind::kConv2D, "dilation_h", 1, INT32_MAX},
      {OpKind::kDepthwiseConv2D, "dilation_w", 1, INT32_MAX},
      {OpKind::kDepthwiseConv2D, "depth_multiplier", 1, INT32_MAX},
      {OpKind::kFullyConnected, "keep_num_dims", 0, 1},
      {OpKind::kFullyConnected, "form", 0, 1},
      {OpKind::kTransposeConv, "stride_w", 1, INT32_MAX},
      {OpKind::kTransposeConv, "padding", 0, 1},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Error(c.kind, {{c.key, c.low}}), "") << c.key;
    EXPECT_EQ(Error(c.kind, {{c.key, c.high}}), "") << c.key;
    for (const int64_t bad : {c.low - 1, c.high + 1, INT64_MIN, INT64_MAX, int64_t{1} << 32}) {
      const std::string error = Error(c.kind, {{c.key, bad}});
      EXPECT_NE(error.find(c.key), std::string::npos) << c.key << bad << error;
      EXPECT_NE(error.find(std::to_string(bad)), std::string::npos) << c.key << bad << error;
    }
  }
}

TEST(OpOptions, KeysOfOtherOpsAreUnknown) {
  EXPECT_NE(Error(OpKind::kConv2D, {{"depth_multiplier", 1}}), "");
  EXPECT_NE(Error(OpKind::kFullyConnected, {{"stride_h", 1}}), "");
  EXPECT_NE(Error(OpKind::kDepthwiseConv2D, {{"form", 0}}), "");
  EXPECT_NE(Error(OpKind::kTransposeConv, {{"dilation_w", 1}}), "");
  EXPECT_NE(Error(OpKind::kConv2D, {{"", 1}}).find("unknown key"), std::string::npos);
}

TEST(OpOptions, ChecksValuesAgainstEachOther) {
  EXPECT_NE(Error(OpKind::kConv2D, {{"in_min", 5}, {"in_max", 4}}), "");
  EXPECT_NE(Error(OpKind::kConv2D, {{"out_min", 5}, {"out_max", 4}}), "");
  EXPECT_EQ(Error(OpKind::kConv2D, {{"in_min", 5}, {"in_max", 5}}), "");
  for (const int partition : {0, 1, 2, 3}) {
    const bool sized = partition >= 2;
    EXPECT_EQ(Error(OpKind::kConv2D, {{"partition", partition}, {"partition_size", 64}}) == "",
              sized);
    EXPECT_EQ(Error(OpKind::kConv2D, {{"partition", partition}, {"partition_size", 0}}) == "",
              !sized);
  }
}

TEST(OpOptions, ALaterVersionIsRefusedBeforeItsKeysAreRead) {
  const std::string error = Error(OpKind::kConv2D, {{"version", 2}, {"a_new_key", 1}});
  EXPECT_NE(error.find("version 2"), std::string::npos) << error;
  EXPECT_NE(error.find("install the keras-accq release"), std::string::npos) << error;
  for (const int64_t version : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
    EXPECT_NE(Error(OpKind::kConv2D, {{"version", version}}), "") << version;
  }
}

TEST(OpOptions, SurvivesEveryMutationOfAGoldenBlob) {
  for (const char* hex : {kConv1, kDepthwise1, kFullyConnected1, kTransposed1}) {
    const std::vector<uint8_t> blob = FromHex(hex);
    for (size_t place = 0; place < blob.size(); ++place) {
      for (int byte = 0; byte < 256; ++byte) {
        std::vector<uint8_t> mutated = blob;
        mutated[place] = static_cast<uint8_t>(byte);
        OpOptions options;
        std::string error;
        EXPECT_TRUE(Parse(OpKind::kConv2D, mutated, &options, &error) || !error.empty());
      }
      OpOptions options;
      std::string error;
      EXPECT_FALSE(Parse(OpKind::kConv2D, {blob.begin(), blob.begin() + static_cast<long>(place)},
                         &options, &error));
    }
  }
}

}  // namespace
}  // namespace accq
