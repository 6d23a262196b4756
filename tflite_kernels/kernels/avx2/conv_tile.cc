#include "kernels/avx2/conv_tile.h"

#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/requantize.h"
#include "kernels/x86/conv_tile.h"

namespace accq {
namespace {

struct Avx2 {
  struct Vector {
    __m256i v;
  };
  static constexpr int kVectors = 2, kShortPixels = 4, kLongPixels = 6;

  ACCQ_INLINE static Vector Zero() { return {_mm256_setzero_si256()}; }
  ACCQ_INLINE static Vector Load(const void* from) {
    return {_mm256_load_si256(static_cast<const __m256i*>(from))};
  }
  ACCQ_INLINE static void Store(Vector a, void* to) {
    _mm256_store_si256(static_cast<__m256i*>(to), a.v);
  }
  ACCQ_INLINE static Vector Broadcast4(const uint8_t* bytes) {
    int32_t word;
    std::memcpy(&word, bytes, sizeof(word));
    return {_mm256_set1_epi32(word)};
  }
  ACCQ_INLINE static Vector Signed(Vector w, Vector x) { return {_mm256_sign_epi8(w.v, x.v)}; }
  ACCQ_INLINE static Vector MultiplyPairs(Vector u, Vector w) {
    return {_mm256_maddubs_epi16(u.v, w.v)};
  }
  ACCQ_INLINE static Vector Add16(Vector a, Vector b) { return {_mm256_add_epi16(a.v, b.v)}; }
  ACCQ_INLINE static Vector AddWidened(Vector sums, Vector lanes) {
    return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(lanes.v, _mm256_set1_epi16(1)))};
  }

  class Outputs {
   public:
    ACCQ_INLINE explicit Outputs(const OutputRange& range) : requantize_(range) {}

    ACCQ_INLINE __m128i operator()(const Unrolled<Vector, 2>& sums, const float* multiplier) const {
      return PackOutputs(requantize_(sums.first.v, _mm256_load_ps(multiplier)),
                         requantize_(sums.rest.first.v, _mm256_load_ps(multiplier + 8)));
    }
    ACCQ_INLINE __m128i operator()(const Unrolled<Vector, 1>& sums, const float* multiplier) const {
      const __m256i a = requantize_(sums.first.v, _mm256_load_ps(multiplier));
      return PackOutputs(a, a);
    }

   private:
    Requantizer requantize_;
  };
};

}  // namespace

int Avx2TilePixels(TileKind kind) { return ConvTiles<Avx2>::Pixels(kind); }

ConvTileFunction FindAvx2Tile(TileKind kind, int pixels, int channels) {
  return ConvTiles<Avx2>::Find(kind, pixels, channels);
}

}  // namespace accq
