#include "bench/avx2_int32.h"

#include <immintrin.h>

#include <array>
#include <cstring>
#include <utility>

#include "kernels/avx2/map_operands.h"
#include "kernels/avx2/requantize.h"
#include "kernels/conv_op.h"
#include "kernels/inline.h"
#include "kernels/x86/store_outputs.h"
#include "kernels/x86/unrolled.h"

namespace accq {
namespace {

// Twelve vectors hold the sums of three pixels; with int16 sums, those of six.
constexpr int kMostPixels = 3;

struct Vector {
  __m256i v;
};

// Two int32 sums for each of 16 channels: of bytes 0 and 1 and of bytes 2 and 3.
using Sums = Unrolled<Vector, 4>;

struct Pixel {
  const uint8_t* operands;
  Sums sums;
};

// The sums of 8 channels.
ACCQ_INLINE inline __m256i Channels(const Vector& a, const Vector& b) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a.v, b.v), 0xD8);
}

template <int kPixels>
void Run(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  Unrolled<Pixel, kPixels> pixels;
  ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
    pixel.operands = tile.operands + tile.pixels[i];
    ForEach(pixel.sums, [&](int v, Vector& sum) ACCQ_INLINE {
      sum.v = _mm256_cvtepu32_epi64(
          _mm_load_si128(reinterpret_cast<const __m128i*>(block.bias + 4 * v)));
    });
  });
  const Group* step = block.steps;
  for (size_t s = 0; s < block.num_steps; ++s, ++step) {
    Sums weights;
    ForEach(weights, [&](int v, Vector& vector) ACCQ_INLINE {
      vector.v = _mm256_cvtepi8_epi16(
          _mm_load_si128(reinterpret_cast<const __m128i*>(step->weights + 16 * v)));
    });
    const int32_t offset = block.offsets[s];
    ForEach(pixels, [&](int, Pixel& pixel) ACCQ_INLINE {
      int32_t word;
      std::memcpy(&word, pixel.operands + offset, sizeof(word));
      const __m256i x = _mm256_cvtepu8_epi16(_mm_set1_epi32(word));
      ForEachPair(pixel.sums, weights, [&](Vector& sum, Vector& vector) ACCQ_INLINE {
        sum.v = _mm256_add_epi32(sum.v, _mm256_madd_epi16(x, vector.v));
        asm volatile("" : "+x"(sum.v));  // as in x86/conv_tile.h
      });
    });
  }
  const Requantizer requantize(range);
  ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
    auto& [a, rest] = pixel.sums;
    auto& [b, more] = rest;
    const __m256i low = requantize(Channels(a, b), _mm256_load_ps(block.multiplier));
    const __m256i high =
        requantize(Channels(more.first, more.rest.first), _mm256_load_ps(block.multiplier + 8));
    StoreOutputs(PackOutputs(low, high), block.channels, tile.out + i * tile.out_stride);
  });
}

template <size_t... i>
constexpr std::array<ConvTileFunction, sizeof...(i)> TilesOf(std::index_sequence<i...>) {
  return {Run<static_cast<int>(i) + 1>...};
}
constexpr auto kTiles = TilesOf(std::make_index_sequence<kMostPixels>());

constexpr ConvLoops kLoops = {
    "avx2_int32",
    /*dots=*/true,
    /*block_channels=*/16,
    MapOperandsAvx2,
    [](TileKind) { return kMostPixels; },
    [](TileKind, int pixels, int) { return kTiles[pixels - 1]; },
};

}  // namespace

std::unique_ptr<PackedOp> CreateAvx2Int32(const OpSpec& spec, std::string* error) {
  return CreateConv(spec, kLoops, error);
}

}  // namespace accq
