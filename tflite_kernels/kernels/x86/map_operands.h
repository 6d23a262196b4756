// The loops of MapOperands (operands.h), written once for registers of 128 and 256 bits. Only for
// files compiled for the instructions, at least SSE4.1. All is local to such a file, since it gets
// compiled differently for another.
#ifndef ACCQ_KERNELS_X86_MAP_OPERANDS_H_
#define ACCQ_KERNELS_X86_MAP_OPERANDS_H_

#include <smmintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/break.h"
#include "kernels/operands.h"

namespace accq {
namespace {

struct Bytes16 {
  using Vector = __m128i;
  static Vector Load(const int8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const Vector*>(from));
  }
  static void Store(uint8_t* to, Vector x) { _mm_storeu_si128(reinterpret_cast<Vector*>(to), x); }
  static Vector Set(int8_t x) { return _mm_set1_epi8(x); }
  static Vector Clamp(Vector x, Vector low, Vector high) {
    return _mm_min_epi8(_mm_max_epi8(x, low), high);
  }
  static Vector Subtract(Vector x, Vector y) { return _mm_sub_epi8(x, y); }
  static Vector Abs(Vector x) { return _mm_abs_epi8(x); }
};

// Maps vectors of operands. Isa is Bytes16 or offers the same for wider vectors.
template <typename Isa, OperandForm kForm>
class OperandMapper {
 public:
  explicit OperandMapper(const OperandMap& map)
      : low_(Isa::Set(map.low)), high_(Isa::Set(map.high)) {}

  auto operator()(typename Isa::Vector x) const {
    if (!kBreakClamp) x = Isa::Clamp(x, low_, high_);
    switch (kForm) {
      case OperandForm::kShifted:
        return Isa::Subtract(x, low_);
      case OperandForm::kMagnitude:
        return Isa::Abs(x);
      case OperandForm::kValue:
        return x;
    }
  }

  void Vector(const int8_t* from, uint8_t* to) const { Isa::Store(to, (*this)(Isa::Load(from))); }

 private:
  typename Isa::Vector low_, high_;
};

template <typename Isa, OperandForm kForm>
void MapRuns(const OperandMap& map, const OperandRuns& runs) {
  constexpr size_t kBytes = sizeof(typename Isa::Vector);
  const OperandMapper<Isa, kForm> wide(map);
  const OperandMapper<Bytes16, kForm> narrow(map);
  if (runs.bytes == 16) {  // as many pixels have, and then most of the time would go to the checks
    for (int64_t i = 0; i < runs.runs; ++i) {
      narrow.Vector(runs.from + i * runs.from_stride, runs.to + i * runs.to_stride);
    }
    return;
  }
  for (int64_t i = 0; i < runs.runs; ++i) {
    const int8_t* from = runs.from + i * runs.from_stride;
    uint8_t* to = runs.to + i * runs.to_stride;
    size_t count = runs.bytes;
    for (; count >= kBytes; count -= kBytes, from += kBytes, to += kBytes) wide.Vector(from, to);
    if (count >= 16) {
      narrow.Vector(from, to);
      count -= 16, from += 16, to += 16;
    }
    if (count >= 8) {
      const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to), narrow(x));
      count -= 8, from += 8, to += 8;
    }
    for (; count > 0; --count) {
      *to++ = static_cast<uint8_t>(_mm_extract_epi8(narrow(_mm_set1_epi8(*from++)), 0));
    }
  }
}

template <typename Isa>
void MapRunsOf(const OperandMap& map, const OperandRuns& runs) {
  switch (map.form) {
    case OperandForm::kShifted:
      return MapRuns<Isa, OperandForm::kShifted>(map, runs);
    case OperandForm::kMagnitude:
      return MapRuns<Isa, OperandForm::kMagnitude>(map, runs);
    case OperandForm::kValue:
      return MapRuns<Isa, OperandForm::kValue>(map, runs);
  }
}

}  // namespace
}  // namespace accq

#endif  // ACCQ_KERNELS_X86_MAP_OPERANDS_H_
