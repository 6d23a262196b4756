// The inner loops of avxvnni_k4n16, with registers of 256 bits; see dot_tile.h.
#ifndef ACCQ_KERNELS_VNNI_AVX_TILE_H_
#define ACCQ_KERNELS_VNNI_AVX_TILE_H_

#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/requantize.h"
#include "kernels/vnni/dot_tile.h"

namespace accq {
namespace {

// How VPDPBUSD is encoded: AVX-VNNI's way, or that of AVX512-VNNI with AVX512-VL. The loops are the
// same, and a CPU that has only the latter can test them.
enum class Encoding { kVex, kEvex };

template <Encoding kEncoding>
struct AvxVnni {
  static constexpr int kMostGroups = 1, kMostPixels = 6;

  struct Sums {
    __m256i a, b;  // 8 channels each

    ACCQ_INLINE static Sums Zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    ACCQ_INLINE static Sums Load(const int32_t* from) { return {Load8(from), Load8(from + 8)}; }
    ACCQ_INLINE void AddDots(__m256i operands, const int8_t* weights) {
      AddDots8(operands, Load8(weights), &a);
      AddDots8(operands, Load8(weights + 32), &b);
    }
    ACCQ_INLINE static void AddDots8(__m256i operands, __m256i weights, __m256i* sums) {
      if constexpr (kEncoding == Encoding::kVex) {
        asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(*sums) : "x"(operands), "x"(weights));
      } else {
        asm("vpdpbusd %2, %1, %0" : "+x"(*sums) : "x"(operands), "x"(weights));
      }
    }
    ACCQ_INLINE void Add(const Sums& other) {
      a = _mm256_add_epi32(a, other.a);
      b = _mm256_add_epi32(b, other.b);
    }
  };

  ACCQ_INLINE static __m256i Load8(const void* from) {
    return _mm256_load_si256(static_cast<const __m256i*>(from));
  }

  ACCQ_INLINE static __m256i Broadcast(const uint8_t* from) {
    int32_t word;
    std::memcpy(&word, from, sizeof(word));
    return _mm256_set1_epi32(word);
  }

  class Outputs {
   public:
    ACCQ_INLINE explicit Outputs(const OutputRange& range) : requantize_(range) {}

    ACCQ_INLINE __m128i operator()(const Sums& sums, const float* multipliers) const {
      return PackOutputs(requantize_(sums.a, _mm256_load_ps(multipliers)),
                         requantize_(sums.b, _mm256_load_ps(multipliers + 8)));
    }

   private:
    Requantizer requantize_;
  };
};

}  // namespace
}  // namespace accq

#endif  // ACCQ_KERNELS_VNNI_AVX_TILE_H_
