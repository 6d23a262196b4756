#include "delegate/flexbuffer.h"

#include <algorithm>
#include <cstring>

#include "delegate/text.h"

// The format (FlexBuffers, part of FlatBuffers), as far as it concerns a map of integers. All
// numbers are little endian; an offset counts bytes backwards from its own place.
//
//   ... [offset of keys][byte width of keys][count] | elements: count x width | types: count x 1
//   ... [root: offset of the elements][packed type of the root][byte width of the root]
//
// A packed type is (type << 2) | log2(width). The keys are a vector of offsets to NUL-terminated
// strings, with their own count before it.

namespace accq {
namespace {

constexpr int kTypeInt = 1;
constexpr int kTypeUint = 2;
constexpr int kTypeMap = 9;
constexpr size_t kMaxEntries = 64;  // far more than any version of the options has

bool IsWidth(uint64_t width) { return width == 1 || width == 2 || width == 4 || width == 8; }

// A bounds-checked view of the blob. Positions are counted from its start.
struct Blob {
  const uint8_t* data;
  size_t size;

  bool Holds(size_t position, size_t bytes) const {
    return position <= size && bytes <= size - position;
  }

  bool ReadUnsigned(size_t position, size_t width, uint64_t* value) const {
    if (!Holds(position, width)) return false;
    *value = 0;
    for (size_t i = 0; i < width; ++i) {
      *value |= static_cast<uint64_t>(data[position + i]) << (8 * i);
    }
    return true;
  }

  bool ReadSigned(size_t position, size_t width, int64_t* value) const {
    uint64_t bits = 0;
    if (!ReadUnsigned(position, width, &bits)) return false;
    const uint64_t sign = uint64_t{1} << (8 * width - 1);
    // Two's complement without a signed overflow: (bits ^ sign) - sign.
    *value = static_cast<int64_t>((bits ^ sign) - sign);
    return true;
  }

  // The position that the offset stored at `position` points back to.
  bool Follow(size_t position, size_t width, size_t* target) const {
    uint64_t offset = 0;
    if (!ReadUnsigned(position, width, &offset) || offset > position) return false;
    *target = position - static_cast<size_t>(offset);
    return true;
  }

  // The NUL-terminated text at `position`, or null when it does not end inside the blob.
  const char* Text(size_t position) const {
    if (position >= size || memchr(data + position, 0, size - position) == nullptr) {
      return nullptr;
    }
    return reinterpret_cast<const char*>(data + position);
  }
};

}  // namespace

bool ReadFlexMap(const uint8_t* data, size_t size, std::vector<FlexEntry>* entries,
                 std::string* error) {
  entries->clear();
  const Blob blob{data, data == nullptr ? 0 : size};
  const auto malformed = [&](const char* what) {
    *error =
        Format("the options (%zu bytes) are not a FlexBuffer map of integers: %s", blob.size, what);
    return false;
  };

  if (blob.size < 3) return malformed("too short");
  const size_t root_width = blob.data[blob.size - 1];
  const int root_type = blob.data[blob.size - 2];
  if (!IsWidth(root_width) || !blob.Holds(0, root_width + 2)) return malformed("width of the root");
  if (root_type >> 2 != kTypeMap) return malformed("the root is not a map");
  const size_t width = size_t{1} << (root_type & 3);

  size_t elements = 0;
  if (!blob.Follow(blob.size - 2 - root_width, root_width, &elements) || elements < 3 * width) {
    return malformed("the root's offset");
  }
  uint64_t count = 0, keys_width = 0;
  blob.ReadUnsigned(elements - width, width, &count);
  blob.ReadUnsigned(elements - 2 * width, width, &keys_width);
  if (count > kMaxEntries || !blob.Holds(elements, static_cast<size_t>(count) * (width + 1))) {
    return malformed("the number of entries");
  }
  if (!IsWidth(keys_width)) return malformed("width of the keys");
  const size_t key_width = static_cast<size_t>(keys_width);
  size_t keys = 0;
  uint64_t keys_count = 0;
  if (!blob.Follow(elements - 3 * width, width, &keys) || keys < key_width ||
      !blob.ReadUnsigned(keys - key_width, key_width, &keys_count) || keys_count != count ||
      !blob.Holds(keys, static_cast<size_t>(count) * key_width)) {
    return malformed("the vector of keys");
  }

  const size_t types = elements + static_cast<size_t>(count) * width;
  for (size_t i = 0; i < count; ++i) {
    size_t key_position = 0;
    const char* key = nullptr;
    if (blob.Follow(keys + i * key_width, key_width, &key_position)) key = blob.Text(key_position);
    if (key == nullptr) return malformed("a key lies outside");
    for (const FlexEntry& entry : *entries) {
      if (strcmp(entry.key, key) == 0) return malformed("a key stands twice");
    }
    const int type = blob.data[types + i] >> 2;
    if (type != kTypeInt && type != kTypeUint) {
      *error = Format("the option \"%s\" is not an integer", ShortName(key).c_str());
      return false;
    }
    int64_t value = 0;
    blob.ReadSigned(elements + i * width, width, &value);
    if (type == kTypeUint) {
      uint64_t bits = 0;
      blob.ReadUnsigned(elements + i * width, width, &bits);
      value = static_cast<int64_t>(std::min<uint64_t>(bits, INT64_MAX));
    }
    entries->push_back({key, value});
  }
  return true;
}

}  // namespace accq
