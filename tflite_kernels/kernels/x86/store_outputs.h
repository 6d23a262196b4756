#ifndef ACCQ_KERNELS_X86_STORE_OUTPUTS_H_
#define ACCQ_KERNELS_X86_STORE_OUTPUTS_H_

#include <emmintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/inline.h"

namespace accq {

// Writes the first `count` of 16 outputs, and nothing behind them.
ACCQ_INLINE inline void StoreOutputs(__m128i outputs, int32_t count, int8_t* out) {
  if (count >= 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), outputs);
    return;
  }
  // Not with memcpy: a call, though rarely made, has Clang keep all pixels' sums in memory.
  if (count & 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), outputs);
    outputs = _mm_srli_si128(outputs, 8);
    out += 8;
  }
  uint32_t word = static_cast<uint32_t>(_mm_cvtsi128_si32(outputs));
  if (count & 4) {
    std::memcpy(out, &word, 4);
    word = static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_srli_si128(outputs, 4)));
    out += 4;
  }
  if (count & 2) {
    std::memcpy(out, &word, 2);
    word >>= 16;
    out += 2;
  }
  if (count & 1) *out = static_cast<int8_t>(word & 0xff);
}

}  // namespace accq

#endif  // ACCQ_KERNELS_X86_STORE_OUTPUTS_H_
