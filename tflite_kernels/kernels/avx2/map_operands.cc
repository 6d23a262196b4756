#include "kernels/avx2/map_operands.h"

#include <immintrin.h>

#include "kernels/break.h"

namespace accq {
namespace {

// Maps vectors of operands.
template <OperandForm kForm>
class Map {
 public:
  explicit Map(const OperandMap& map)
      : low_(_mm256_set1_epi8(map.low)), high_(_mm256_set1_epi8(map.high)) {}

  __m256i operator()(__m256i x) const {
    if (!kBreakClamp) x = _mm256_min_epi8(_mm256_max_epi8(x, low_), high_);
    switch (kForm) {
      case OperandForm::kShifted:
        return _mm256_sub_epi8(x, low_);
      case OperandForm::kMagnitude:
        return _mm256_abs_epi8(x);
      case OperandForm::kValue:
        return x;
    }
  }
  __m128i operator()(__m128i x) const {
    return _mm256_castsi256_si128((*this)(_mm256_castsi128_si256(x)));
  }

 private:
  __m256i low_, high_;
};

template <typename Map>
void MapBytes(const Map& map, const int8_t* from, size_t count, uint8_t* to) {
  for (; count >= 32; count -= 32, from += 32, to += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), map(x));
  }
  if (count >= 16) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), map(x));
    count -= 16, from += 16, to += 16;
  }
  if (count >= 8) {
    const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), map(x));
    count -= 8, from += 8, to += 8;
  }
  for (; count > 0; --count) {
    *to++ = static_cast<uint8_t>(_mm_extract_epi8(map(_mm_set1_epi8(*from++)), 0));
  }
}

template <OperandForm kForm>
void MapRuns(const OperandMap& operand_map, const OperandRuns& runs) {
  const Map<kForm> map(operand_map);
  if (runs.bytes == 16) {  // as many pixels have, and then most of the time would go to the checks
    for (int64_t i = 0; i < runs.runs; ++i) {
      const auto* from = reinterpret_cast<const __m128i*>(runs.from + i * runs.from_stride);
      auto* to = reinterpret_cast<__m128i*>(runs.to + i * runs.to_stride);
      _mm_storeu_si128(to, map(_mm_loadu_si128(from)));
    }
    return;
  }
  for (int64_t i = 0; i < runs.runs; ++i) {
    MapBytes(map, runs.from + i * runs.from_stride, runs.bytes, runs.to + i * runs.to_stride);
  }
}

}  // namespace

void MapOperandsAvx2(const OperandMap& map, const OperandRuns& runs) {
  switch (map.form) {
    case OperandForm::kShifted:
      return MapRuns<OperandForm::kShifted>(map, runs);
    case OperandForm::kMagnitude:
      return MapRuns<OperandForm::kMagnitude>(map, runs);
    case OperandForm::kValue:
      return MapRuns<OperandForm::kValue>(map, runs);
  }
}

}  // namespace accq
