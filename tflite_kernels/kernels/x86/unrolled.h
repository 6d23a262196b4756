// Vectors of sums that stay in registers.
#ifndef ACCQ_KERNELS_X86_UNROLLED_H_
#define ACCQ_KERNELS_X86_UNROLLED_H_

#include "kernels/inline.h"

namespace accq {

// kCount things as a list of structs: gcc 12 would keep an array of accumulators in memory.
template <typename T, int kCount>
struct Unrolled {
  T first;
  Unrolled<T, kCount - 1> rest;
};
template <typename T>
struct Unrolled<T, 0> {};

// Calls body(i, thing) for each, unrolled.
template <int i = 0, typename T, int kCount, typename Body>
ACCQ_INLINE inline void ForEach(Unrolled<T, kCount>& things, const Body& body) {
  if constexpr (kCount > 0) {
    body(i, things.first);
    ForEach<i + 1>(things.rest, body);
  }
}

// Calls body(a's thing, b's thing) for each.
template <typename A, typename B, int kCount, typename Body>
ACCQ_INLINE inline void ForEachPair(Unrolled<A, kCount>& a, Unrolled<B, kCount>& b,
                                    const Body& body) {
  if constexpr (kCount > 0) {
    body(a.first, b.first);
    ForEachPair(a.rest, b.rest, body);
  }
}

}  // namespace accq

#endif  // ACCQ_KERNELS_X86_UNROLLED_H_
