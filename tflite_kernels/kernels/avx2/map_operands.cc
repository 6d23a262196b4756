#include "kernels/avx2/map_operands.h"

#include <immintrin.h>

#include "kernels/x86/map_operands.h"

namespace accq {
namespace {

struct Bytes32 {
  using Vector = __m256i;
  static Vector Load(const int8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const Vector*>(from));
  }
  static void Store(uint8_t* to, Vector x) {
    _mm256_storeu_si256(reinterpret_cast<Vector*>(to), x);
  }
  static Vector Set(int8_t x) { return _mm256_set1_epi8(x); }
  static Vector Clamp(Vector x, Vector low, Vector high) {
    return _mm256_min_epi8(_mm256_max_epi8(x, low), high);
  }
  static Vector Subtract(Vector x, Vector y) { return _mm256_sub_epi8(x, y); }
  static Vector Abs(Vector x) { return _mm256_abs_epi8(x); }
};

}  // namespace

void MapOperandsAvx2(const OperandMap& map, const OperandRuns& runs) {
  MapRunsOf<Bytes32>(map, runs);
}

}  // namespace accq
