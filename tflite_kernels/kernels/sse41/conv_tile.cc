#include "kernels/sse41/conv_tile.h"

#include <smmintrin.h>
#include <tmmintrin.h>

#include <cstring>

#include "kernels/break.h"
#include "kernels/x86/conv_tile.h"

namespace accq {
namespace {

struct Sse41 {
  struct Vector {
    __m128i v;
  };
  static constexpr int kVectors = 4, kShortPixels = 2, kLongPixels = 2;

  ACCQ_INLINE static Vector Zero() { return {_mm_setzero_si128()}; }
  ACCQ_INLINE static Vector Load(const void* from) {
    return {_mm_load_si128(static_cast<const __m128i*>(from))};
  }
  ACCQ_INLINE static void Store(Vector a, void* to) {
    _mm_store_si128(static_cast<__m128i*>(to), a.v);
  }
  ACCQ_INLINE static Vector Broadcast4(const uint8_t* bytes) {
    int32_t word;
    std::memcpy(&word, bytes, sizeof(word));
    return {_mm_set1_epi32(word)};
  }
  ACCQ_INLINE static Vector Signed(Vector w, Vector x) { return {_mm_sign_epi8(w.v, x.v)}; }
  ACCQ_INLINE static Vector MultiplyPairs(Vector u, Vector w) {
    return {_mm_maddubs_epi16(u.v, w.v)};
  }
  ACCQ_INLINE static Vector Add16(Vector a, Vector b) { return {_mm_add_epi16(a.v, b.v)}; }
  ACCQ_INLINE static Vector AddWidened(Vector sums, Vector lanes) {
    return {_mm_add_epi32(sums.v, _mm_madd_epi16(lanes.v, _mm_set1_epi16(1)))};
  }

  // The last step of the contract in op.h; see avx2/requantize.h.
  class Outputs {
   public:
    ACCQ_INLINE explicit Outputs(const OutputRange& range)
        : low_(_mm_set1_ps(range.low)),
          high_(_mm_set1_ps(range.high)),
          zero_(_mm_set1_epi32(range.zero)) {}

    ACCQ_INLINE __m128i operator()(const Unrolled<Vector, 4>& sums, const float* multiplier) const {
      const auto& [a, more] = sums;
      const auto& [b, others] = more;
      const __m128i first = Words(a, b, multiplier);
      return _mm_packs_epi16(first, Words(others.first, others.rest.first, multiplier + 8));
    }
    ACCQ_INLINE __m128i operator()(const Unrolled<Vector, 2>& sums, const float* multiplier) const {
      const __m128i words = Words(sums.first, sums.rest.first, multiplier);
      return _mm_packs_epi16(words, words);
    }

   private:
    ACCQ_INLINE __m128i Words(Vector a, Vector b, const float* multiplier) const {
      return _mm_packs_epi32(Requantized(a, multiplier), Requantized(b, multiplier + 4));
    }

    ACCQ_INLINE __m128i Requantized(Vector sums, const float* multiplier) const {
      __m128 v = _mm_mul_ps(_mm_cvtepi32_ps(sums.v), _mm_load_ps(multiplier));
      v = _mm_min_ps(_mm_max_ps(v, low_), high_);
      if (kBreakRounding) v = _mm_floor_ps(_mm_add_ps(v, _mm_set1_ps(0.5f)));
      return _mm_add_epi32(_mm_cvtps_epi32(v), zero_);
    }

    __m128 low_, high_;
    __m128i zero_;
  };
};

}  // namespace

int Sse41TilePixels(TileKind kind) { return ConvTiles<Sse41>::Pixels(kind); }

ConvTileFunction FindSse41Tile(TileKind kind, int pixels, int channels) {
  return ConvTiles<Sse41>::Find(kind, pixels, channels);
}

}  // namespace accq
