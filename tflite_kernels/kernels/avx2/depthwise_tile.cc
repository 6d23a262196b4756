#include "kernels/avx2/depthwise_tile.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/avx2/requantize.h"
#include "kernels/inline.h"

namespace accq {
namespace {

ACCQ_INLINE inline __m256i Load(const void* from) {
  return _mm256_load_si256(static_cast<const __m256i*>(from));
}

// The operands of one vector: 32 / kPixels channels of each pixel.
template <int kPixels, bool kDense>
class Operands {
 public:
  // `count`: the pixels that there are. kDense: pixels follow each other without a gap.
  ACCQ_INLINE Operands(const uint8_t* first, ptrdiff_t stride, int64_t count) {
    for (int i = 0; i < kPixels; ++i) pixels_[i] = first + (i < count ? i * stride : 0);
  }

  ACCQ_INLINE __m256i At(int32_t offset) const {
    if constexpr (kPixels == 1 || kDense) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pixels_[0] + offset));
    } else if constexpr (kPixels == 2) {
      return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(pixels_[1] + offset),
                                 reinterpret_cast<const __m128i*>(pixels_[0] + offset));
    } else {
      int64_t eight[kPixels];
      for (int i = 0; i < kPixels; ++i) std::memcpy(&eight[i], pixels_[i] + offset, 8);
      return _mm256_set_epi64x(eight[3], eight[2], eight[1], eight[0]);
    }
  }

 private:
  const uint8_t* pixels_[kPixels];
};

struct Sums {
  __m256i a_even, a_odd, b_even, b_odd;
};

// The int16 lanes that hold two taps' products of each channel.
struct Products {
  __m256i a, b;
};

template <typename Vector>
ACCQ_INLINE inline Products Multiply(const Vector& operands, const TapOffsets& offsets,
                                     const Group& step) {
  const __m256i x0 = operands.At(offsets.first), x1 = operands.At(offsets.second);
  return {_mm256_maddubs_epi16(_mm256_unpacklo_epi8(x0, x1), Load(step.weights)),
          _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x0, x1), Load(step.weights + 32))};
}

// PMADDWD by (1, 0) and (0, 1) widens the even and the odd lanes.
ACCQ_INLINE inline void AddWidened(const Products& products, Sums* sums) {
  const __m256i even = _mm256_set1_epi32(0x00000001), odd = _mm256_set1_epi32(0x00010000);
  sums->a_even = _mm256_add_epi32(sums->a_even, _mm256_madd_epi16(products.a, even));
  sums->a_odd = _mm256_add_epi32(sums->a_odd, _mm256_madd_epi16(products.a, odd));
  sums->b_even = _mm256_add_epi32(sums->b_even, _mm256_madd_epi16(products.b, even));
  sums->b_odd = _mm256_add_epi32(sums->b_odd, _mm256_madd_epi16(products.b, odd));
}

template <typename Vector>
ACCQ_INLINE inline void AddInt16(const DepthwiseBlock& block, const Vector& operands, Sums* sums) {
  const Group* step = block.steps;
  const TapOffsets* offsets = block.offsets;
  for (size_t s = 0; s < block.segment_kinds; ++s) {
    const auto [length, count] = block.segments[s];
    for (int32_t n = 0; n < count; ++n) {
      Products products = Multiply(operands, *offsets++, *step++);
      for (int32_t i = 1; i < length; ++i) {
        const Products next = Multiply(operands, *offsets++, *step++);
        products.a = _mm256_add_epi16(products.a, next.a);
        products.b = _mm256_add_epi16(products.b, next.b);
      }
      AddWidened(products, sums);
    }
  }
}

template <typename Vector>
ACCQ_INLINE inline void AddInt32(const DepthwiseBlock& block, const Vector& operands, Sums* sums) {
  // Bytes 0 1 or 2 3 of each 32 bits, widened to 16: the two taps of even or odd channels.
  const __m256i even = _mm256_set_epi64x(0x800D800C80098008, 0x8005800480018000, 0x800D800C80098008,
                                         0x8005800480018000);
  const __m256i odd = _mm256_set_epi64x(0x800F800E800B800A, 0x8007800680038002, 0x800F800E800B800A,
                                        0x8007800680038002);
  const auto add = [](__m256i sum, __m256i taps, __m256i order, const int16_t* weights) {
    const __m256i x = _mm256_shuffle_epi8(taps, order);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, Load(weights)));
  };
  for (size_t s = 0; s < block.wide_steps; ++s) {
    const __m256i x0 = operands.At(block.offsets[s].first);
    const __m256i x1 = operands.At(block.offsets[s].second);
    const __m256i a = _mm256_unpacklo_epi8(x0, x1), b = _mm256_unpackhi_epi8(x0, x1);
    const int16_t* weights = block.wide[s].weights;
    sums->a_even = add(sums->a_even, a, even, weights);
    sums->a_odd = add(sums->a_odd, a, odd, weights + 16);
    sums->b_even = add(sums->b_even, b, even, weights + 32);
    sums->b_odd = add(sums->b_odd, b, odd, weights + 48);
  }
}

// 32 outputs: channels 0-31, or 0-15 of one pixel and of another.
ACCQ_INLINE inline __m256i Outputs(const DepthwiseBlock& block, const Requantizer& requantize,
                                   const Sums& sums) {
  const auto words = [&](__m256i even, __m256i odd, const float* multiplier) {
    even = requantize(even, _mm256_load_ps(multiplier));
    odd = requantize(odd, _mm256_load_ps(multiplier + 8));
    return _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xAA);
  };
  return _mm256_packs_epi16(words(sums.a_even, sums.a_odd, block.multiplier),
                            words(sums.b_even, sums.b_odd, block.multiplier + 16));
}

// Writes `count` pixels of outputs.
template <int kPixels>
ACCQ_INLINE inline void Store(const DepthwiseBlock& block, __m256i outputs, int64_t count,
                              ptrdiff_t out_stride, int8_t* out) {
  constexpr int kChannels = kLanes / kPixels;
  const bool dense = block.channels == kChannels && (kPixels == 1 || out_stride == kChannels);
  if (dense && count >= kPixels) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), outputs);
    return;
  }
  alignas(32) int8_t all[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(all), outputs);
  for (int i = 0; i < kPixels && i < count; ++i) {
    std::memcpy(out + i * out_stride, all + i * kChannels, block.channels);
  }
}

template <int kPixels, bool kDense>
void RunRow(const DepthwiseBlock& block, const DepthwiseRow& row, const OutputRange& range) {
  const Requantizer requantize(range);
  for (int64_t p = 0; p < row.pixels; p += kPixels) {
    const int64_t left = row.pixels - p;
    const Operands<kPixels, kDense> operands(row.operands + p * row.pixel_stride, row.pixel_stride,
                                             left);
    Sums sums = {Load(block.bias), Load(block.bias + 8), Load(block.bias + 16),
                 Load(block.bias + 24)};
    if (block.steps != nullptr) {
      AddInt16(block, operands, &sums);
    } else {
      AddInt32(block, operands, &sums);
    }
    Store<kPixels>(block, Outputs(block, requantize, sums), left, row.out_stride,
                   row.out + p * row.out_stride);
  }
}

}  // namespace

void RunDepthwiseRowAvx2(const DepthwiseBlock& block, const DepthwiseRow& row,
                         const OutputRange& range) {
  const bool dense = row.pixel_stride * block.pixels == kLanes;
  switch (block.pixels) {
    case 4:
      return (dense ? RunRow<4, true> : RunRow<4, false>)(block, row, range);
    case 2:
      return (dense ? RunRow<2, true> : RunRow<2, false>)(block, row, range);
    default:
      return RunRow<1, true>(block, row, range);
  }
}

}  // namespace accq
