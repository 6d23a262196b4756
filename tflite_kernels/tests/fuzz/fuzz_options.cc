// The options of custom operators: blobs that are damaged, or maps of random keys and values.
// What is taken must lie in the ranges that the rest of the delegate relies on.
#include <vector>

#include "delegate/op_options.h"
#include "tests/delegate/flex_writer.h"
#include "tests/fuzz/fuzz.h"

namespace accq {
namespace {

const char* const kKeys[] = {"version",
                             "acc_bits",
                             "partition",
                             "partition_size",
                             "in_min",
                             "in_max",
                             "out_min",
                             "out_max",
                             "activation",
                             "padding",
                             "stride_h",
                             "stride_w",
                             "dilation_h",
                             "dilation_w",
                             "depth_multiplier",
                             "keep_num_dims",
                             "form",
                             "speed",
                             ""};
const int64_t kValues[] = {0,
                           1,
                           2,
                           3,
                           4,
                           16,
                           32,
                           33,
                           -1,
                           -128,
                           -129,
                           127,
                           128,
                           255,
                           INT32_MAX,
                           INT32_MIN,
                           int64_t{INT32_MAX} + 1,
                           INT64_MAX,
                           INT64_MIN};

std::vector<uint8_t> MakeBlob(Dice* dice) {
  OptionMap options;
  if (!dice->Once(20)) options["version"] = 1;
  for (int64_t i = dice->From(0, 6); i > 0; --i) {
    options[dice->Of(kKeys)] = dice->Once(3) ? dice->Of(kValues) : dice->From(0, 3);
  }
  std::vector<uint8_t> blob = WriteFlexMap(options, size_t{1} << dice->From(0, 3));
  for (int64_t i = dice->From(0, 3) * dice->From(0, 1); i > 0 && !blob.empty(); --i) {
    dice->Of(blob) = static_cast<uint8_t>(dice->Bits());
  }
  if (dice->Once(10)) blob.resize(static_cast<size_t>(dice->From(0, 80)));
  return blob;
}

void CheckRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) Fault(std::string(name) + " is " + std::to_string(value));
}

bool Round(Dice* dice) {
  // Its own block of memory of exactly that size, so that a read beyond it is seen.
  const std::vector<uint8_t> bytes = MakeBlob(dice);
  uint8_t* blob = static_cast<uint8_t*>(std::malloc(bytes.size()));
  if (!bytes.empty()) std::memcpy(blob, bytes.data(), bytes.size());
  OpOptions options;
  std::string error;
  const auto kind = static_cast<OpKind>(dice->From(0, 3));
  const bool valid = ParseOpOptions(kind, blob, bytes.size(), &options, &error);
  std::free(blob);
  if (valid != error.empty()) Fault("a refusal without a text, or a text without: " + error);
  if (!valid) return false;
  CheckRange("acc_bits", options.acc_bits, 2, 32);
  CheckRange("in_min", options.in_min, -128, options.in_max);
  CheckRange("in_max", options.in_max, options.in_min, 127);
  CheckRange("out_min", options.out_min, -128, options.out_max);
  CheckRange("out_max", options.out_max, options.out_min, 127);
  CheckRange("activation", options.activation, 0, 3);
  CheckRange("padding", options.padding, 0, 1);
  for (const int32_t size : {options.stride_h, options.stride_w, options.dilation_h,
                             options.dilation_w, options.depth_multiplier}) {
    CheckRange("a stride, dilation or multiplier", size, 1, INT32_MAX);
  }
  return true;
}

}  // namespace
}  // namespace accq

int main(int argc, char** argv) { return accq::FuzzMain(argc, argv, accq::Round); }
