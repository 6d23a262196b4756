#include <immintrin.h>

#include <cstring>

#include "kernels/break.h"
#include "kernels/vnni/conv_tiles.h"
#include "kernels/vnni/dot_tile.h"

namespace accq {
namespace {

struct Avx512 {
  static constexpr int kMostGroups = 2, kMostPixels = 8;

  struct Sums {
    __m512i sums;

    ACCQ_INLINE static Sums Zero() { return {_mm512_setzero_si512()}; }
    ACCQ_INLINE static Sums Load(const int32_t* from) { return {_mm512_load_si512(from)}; }
    ACCQ_INLINE void AddDots(__m512i operands, const int8_t* weights) {
#ifdef __clang__
      // Clang broadcasts the operands of an asm statement as floating-point numbers, and AMD's CPUs
      // wait at every step for them to become integers.
      sums = _mm512_dpbusd_epi32(sums, operands, _mm512_load_si512(weights));
#else
      asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(operands), "v"(_mm512_load_si512(weights)));
#endif
    }
    ACCQ_INLINE void Add(const Sums& other) { sums = _mm512_add_epi32(sums, other.sums); }
  };

  ACCQ_INLINE static __m512i Broadcast(const uint8_t* from) {
    int32_t word;
    std::memcpy(&word, from, sizeof(word));
    return _mm512_set1_epi32(word);
  }

  // The last step of the contract in op.h for 16 channels; see avx2/requantize.h.
  class Outputs {
   public:
    ACCQ_INLINE explicit Outputs(const OutputRange& range)
        : low_(_mm512_set1_ps(range.low)),
          high_(_mm512_set1_ps(range.high)),
          zero_(_mm512_set1_epi32(range.zero)) {}

    ACCQ_INLINE __m128i operator()(const Sums& sums, const float* multipliers) const {
      __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums.sums), _mm512_load_ps(multipliers));
      v = _mm512_min_ps(_mm512_max_ps(v, low_), high_);
      if (kBreakRounding) v = _mm512_floor_ps(_mm512_add_ps(v, _mm512_set1_ps(0.5f)));
      return _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(v), zero_));
    }

   private:
    __m512 low_, high_;
    __m512i zero_;
  };
};

}  // namespace

int Avx512VnniTilePixels(TileKind kind) { return DotTiles<Avx512>::Pixels(kind); }

ConvTileFunction FindAvx512VnniTile(TileKind kind, int pixels, int channels) {
  return DotTiles<Avx512>::Find(kind, pixels, channels);
}

}  // namespace accq
