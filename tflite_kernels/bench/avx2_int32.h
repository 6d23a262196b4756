// avx2_k4n16's twin with 32-bit accumulation, to measure what 16 bits are worth: the same layout,
// strips, blocks and requantization, but operands and weights are widened to int16 and each product
// is added to int32 sums (VPMADDWD, VPADDD), of which a register holds half as many.
#ifndef ACCQ_BENCH_AVX2_INT32_H_
#define ACCQ_BENCH_AVX2_INT32_H_

#include <memory>
#include <string>

#include "kernels/op.h"

namespace accq {

// For layers that IsConv takes, on CPUs with AVX2.
std::unique_ptr<PackedOp> CreateAvx2Int32(const OpSpec& spec, std::string* error);

}  // namespace accq

#endif  // ACCQ_BENCH_AVX2_INT32_H_
