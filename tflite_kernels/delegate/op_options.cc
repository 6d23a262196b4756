#include "delegate/op_options.h"

#include <cinttypes>
#include <cstring>
#include <vector>

#include "delegate/flexbuffer.h"
#include "delegate/text.h"

namespace accq {
namespace {

constexpr int64_t kVersion = 1;
constexpr unsigned kConv = 1u << static_cast<int>(OpKind::kConv2D);
constexpr unsigned kDepthwise = 1u << static_cast<int>(OpKind::kDepthwiseConv2D);
constexpr unsigned kFullyConnected = 1u << static_cast<int>(OpKind::kFullyConnected);
constexpr unsigned kTransposed = 1u << static_cast<int>(OpKind::kTransposeConv);
constexpr unsigned kDilated = kConv | kDepthwise;
constexpr unsigned kStrided = kDilated | kTransposed;
constexpr unsigned kAll = kStrided | kFullyConnected;

struct Field {
  const char* key;
  unsigned kinds;  // which ops have it
  int32_t OpOptions::* member;
  int32_t low, high;
};

constexpr Field kFields[] = {
    {"acc_bits", kAll, &OpOptions::acc_bits, 2, 32},
    {"partition", kAll, &OpOptions::partition, 0, 3},
    {"partition_size", kAll, &OpOptions::partition_size, 0, INT32_MAX},
    {"in_min", kAll, &OpOptions::in_min, -128, 127},
    {"in_max", kAll, &OpOptions::in_max, -128, 127},
    {"out_min", kAll, &OpOptions::out_min, -128, 127},
    {"out_max", kAll, &OpOptions::out_max, -128, 127},
    {"activation", kAll, &OpOptions::activation, 0, 3},
    {"padding", kStrided, &OpOptions::padding, 0, 1},
    {"stride_h", kStrided, &OpOptions::stride_h, 1, INT32_MAX},
    {"stride_w", kStrided, &OpOptions::stride_w, 1, INT32_MAX},
    {"dilation_h", kDilated, &OpOptions::dilation_h, 1, INT32_MAX},
    {"dilation_w", kDilated, &OpOptions::dilation_w, 1, INT32_MAX},
    {"depth_multiplier", kDepthwise, &OpOptions::depth_multiplier, 1, INT32_MAX},
    {"keep_num_dims", kFullyConnected, &OpOptions::keep_num_dims, 0, 1},
    {"form", kFullyConnected, &OpOptions::form, 0, 1},
};

const Field* FindField(OpKind kind, const char* key) {
  for (const Field& field : kFields) {
    if ((field.kinds & (1u << static_cast<int>(kind))) != 0 && strcmp(field.key, key) == 0) {
      return &field;
    }
  }
  return nullptr;
}

bool CheckTogether(const OpOptions& options, std::string* error) {
  if (options.in_min > options.in_max) {
    *error = Format("the options have in_min %d above in_max %d", options.in_min, options.in_max);
    return false;
  }
  if (options.out_min > options.out_max) {
    *error =
        Format("the options have out_min %d above out_max %d", options.out_min, options.out_max);
    return false;
  }
  const bool sized = options.partition >= 2;
  if (sized != (options.partition_size > 0)) {
    *error =
        Format("the options have partition_size %d, which partition %d %s", options.partition_size,
               options.partition, sized ? "needs to be at least 1" : "needs to be 0");
    return false;
  }
  return true;
}

}  // namespace

bool ParseOpOptions(OpKind kind, const uint8_t* blob, size_t size, OpOptions* options,
                    std::string* error) {
  std::vector<FlexEntry> entries;
  if (!ReadFlexMap(blob, size, &entries, error)) return false;

  // The version first: in a later one the other keys may mean something else.
  const FlexEntry* version = nullptr;
  for (const FlexEntry& entry : entries) {
    if (strcmp(entry.key, "version") == 0) version = &entry;
  }
  if (version == nullptr || version->value < 1) {
    *error = version == nullptr
                 ? "the options have no version"
                 : Format("the options have version %" PRId64 ", not 1 or more", version->value);
    return false;
  }
  if (version->value > kVersion) {
    *error = Format("the options have version %" PRId64 " and this library reads up to %" PRId64
                    ": install the keras-accq release that wrote the file, or a later one",
                    version->value, kVersion);
    return false;
  }

  *options = OpOptions();
  for (const FlexEntry& entry : entries) {
    if (&entry == version) continue;
    const Field* field = FindField(kind, entry.key);
    if (field == nullptr) {
      *error = Format(
          "the options have the unknown key \"%s\": install the keras-accq release that wrote the "
          "file, or a later one",
          ShortName(entry.key).c_str());
      return false;
    }
    if (entry.value < field->low || entry.value > field->high) {
      *error = Format("the option \"%s\" is %" PRId64 ", not in [%d, %d]", field->key, entry.value,
                      field->low, field->high);
      return false;
    }
    options->*field->member = static_cast<int32_t>(entry.value);
  }
  return CheckTogether(*options, error);
}

}  // namespace accq
