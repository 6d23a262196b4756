// Reading a FlexBuffer that is a map from names to integers: what the custom options of our ops
// are. Anything else is refused.
#ifndef ACCQ_DELEGATE_FLEXBUFFER_H_
#define ACCQ_DELEGATE_FLEXBUFFER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace accq {

struct FlexEntry {
  const char* key;  // NUL-terminated, inside the blob
  int64_t value;
};

// Reads the entries; their keys differ. An unsigned value beyond int64_t becomes INT64_MAX. False
// and a text when the blob is not such a map.
// The blob is not trusted: no byte outside it is read, whatever it holds.
bool ReadFlexMap(const uint8_t* blob, size_t size, std::vector<FlexEntry>* entries,
                 std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_FLEXBUFFER_H_
