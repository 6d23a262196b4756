// Writes the options blobs of the tests, as Python's flatbuffers.flexbuffers does.
#ifndef ACCQ_TESTS_DELEGATE_FLEX_WRITER_H_
#define ACCQ_TESTS_DELEGATE_FLEX_WRITER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace accq {

using OptionMap = std::map<std::string, int64_t>;

// A FlexBuffer map of integers, every number `width` bytes wide.
inline std::vector<uint8_t> WriteFlexMap(const OptionMap& values, size_t width = 4) {
  int log2 = 0;
  while ((size_t{1} << log2) < width) ++log2;
  std::vector<uint8_t> blob;
  const auto put = [&](int64_t value) {
    for (size_t i = 0; i < width; ++i) {
      blob.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
    }
  };
  std::vector<size_t> places;
  for (const auto& entry : values) {
    places.push_back(blob.size());
    blob.insert(blob.end(), entry.first.begin(), entry.first.end());
    blob.push_back(0);
  }
  while (blob.size() % width != 0) blob.push_back(0);
  put(static_cast<int64_t>(values.size()));
  const size_t keys = blob.size();
  for (const size_t place : places) put(static_cast<int64_t>(blob.size() - place));
  put(static_cast<int64_t>(blob.size() - keys));
  put(static_cast<int64_t>(width));
  put(static_cast<int64_t>(values.size()));
  const size_t elements = blob.size();
  for (const auto& entry : values) put(entry.second);
  for (size_t i = 0; i < values.size(); ++i) blob.push_back(static_cast<uint8_t>(1 << 2 | log2));
  put(static_cast<int64_t>(blob.size() - elements));
  blob.push_back(static_cast<uint8_t>(9 << 2 | log2));
  blob.push_back(static_cast<uint8_t>(width));
  return blob;
}

}  // namespace accq

#endif  // ACCQ_TESTS_DELEGATE_FLEX_WRITER_H_
