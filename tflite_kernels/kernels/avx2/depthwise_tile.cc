#include "kernels/avx2/depthwise_tile.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/avx2/requantize.h"

namespace accq {
namespace {

#define ACCQ_INLINE __attribute__((always_inline)) inline

ACCQ_INLINE __m256i Load(const void* from) {
  return _mm256_load_si256(static_cast<const __m256i*>(from));
}

// One vector of pixels: 32 channels of one, or 16 channels of two.
template <bool kTwoPixels>
struct Operands {
  const uint8_t *first, *second;

  ACCQ_INLINE __m256i At(int32_t offset) const {
    if (kTwoPixels) {
      return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(second + offset),
                                 reinterpret_cast<const __m128i*>(first + offset));
    }
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + offset));
  }
};

struct Sums {
  __m256i a_even, a_odd, b_even, b_odd;
};

// The int16 lanes that hold two taps' products of each channel.
struct Products {
  __m256i a, b;
};

template <bool kTwoPixels>
ACCQ_INLINE Products Multiply(const Operands<kTwoPixels>& operands, const TapOffsets& offsets,
                              const Group& step) {
  const __m256i x0 = operands.At(offsets.first), x1 = operands.At(offsets.second);
  return {_mm256_maddubs_epi16(_mm256_unpacklo_epi8(x0, x1), Load(step.weights)),
          _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x0, x1), Load(step.weights + 32))};
}

// PMADDWD by (1, 0) and (0, 1) widens the even and the odd lanes.
ACCQ_INLINE void AddWidened(const Products& products, Sums* sums) {
  const __m256i even = _mm256_set1_epi32(0x00000001), odd = _mm256_set1_epi32(0x00010000);
  sums->a_even = _mm256_add_epi32(sums->a_even, _mm256_madd_epi16(products.a, even));
  sums->a_odd = _mm256_add_epi32(sums->a_odd, _mm256_madd_epi16(products.a, odd));
  sums->b_even = _mm256_add_epi32(sums->b_even, _mm256_madd_epi16(products.b, even));
  sums->b_odd = _mm256_add_epi32(sums->b_odd, _mm256_madd_epi16(products.b, odd));
}

template <bool kTwoPixels>
ACCQ_INLINE void AddInt16(const DepthwiseBlock& block, const Operands<kTwoPixels>& operands,
                          Sums* sums) {
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

template <bool kTwoPixels>
ACCQ_INLINE void AddInt32(const DepthwiseBlock& block, const Operands<kTwoPixels>& operands,
                          Sums* sums) {
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
ACCQ_INLINE __m256i Outputs(const DepthwiseBlock& block, const Requantizer& requantize,
                            const Sums& sums) {
  const auto words = [&](__m256i even, __m256i odd, const float* multiplier) {
    even = requantize(even, _mm256_load_ps(multiplier));
    odd = requantize(odd, _mm256_load_ps(multiplier + 8));
    return _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xAA);
  };
  return _mm256_packs_epi16(words(sums.a_even, sums.a_odd, block.multiplier),
                            words(sums.b_even, sums.b_odd, block.multiplier + 16));
}

// Writes the first 1 to 16 bytes of a vector.
ACCQ_INLINE void StoreHalf(__m128i bytes, int32_t count, int8_t* out) {
  if (count == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  } else if (count == 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
  } else {
    alignas(16) int8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
    std::memcpy(out, all, count);
  }
}

template <bool kTwoPixels, bool kInt16>
void RunRow(const DepthwiseBlock& block, const DepthwiseRow& row, const OutputRange& range) {
  const Requantizer requantize(range);
  constexpr int64_t kStep = kTwoPixels ? 2 : 1;
  const bool whole = !kTwoPixels && block.channels == kLanes;
  for (int64_t p = 0; p < row.pixels; p += kStep) {
    const bool lone = kTwoPixels && p + 1 == row.pixels;
    const uint8_t* first = row.operands + p * row.pixel_stride;
    const Operands<kTwoPixels> operands = {first, lone ? first : first + row.pixel_stride};
    Sums sums = {Load(block.bias), Load(block.bias + 8), Load(block.bias + 16),
                 Load(block.bias + 24)};
    if (kInt16) {
      AddInt16(block, operands, &sums);
    } else {
      AddInt32(block, operands, &sums);
    }
    const __m256i outputs = Outputs(block, requantize, sums);
    int8_t* out = row.out + p * row.out_stride;
    if (whole) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), outputs);
      continue;
    }
    if (kTwoPixels) {
      StoreHalf(_mm256_castsi256_si128(outputs), block.channels, out);
      if (lone) continue;
      StoreHalf(_mm256_extracti128_si256(outputs, 1), block.channels, out + row.out_stride);
    } else {
      alignas(32) int8_t all[kLanes];
      _mm256_store_si256(reinterpret_cast<__m256i*>(all), outputs);
      std::memcpy(out, all, block.channels);
    }
  }
}

}  // namespace

void RunDepthwiseRow(const DepthwiseBlock& block, const DepthwiseRow& row,
                     const OutputRange& range) {
  if (block.steps != nullptr) {
    (block.two_pixels ? RunRow<true, true> : RunRow<false, true>)(block, row, range);
  } else {
    (block.two_pixels ? RunRow<true, false> : RunRow<false, false>)(block, row, range);
  }
}

}  // namespace accq
