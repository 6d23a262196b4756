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
  } else if (count == 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), outputs);
  } else {
    alignas(16) int8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), outputs);
    std::memcpy(out, all, count);
  }
}

}  // namespace accq

#endif  // ACCQ_KERNELS_X86_STORE_OUTPUTS_H_
