// What kernels multiply: bytes made of clamped inputs.
#ifndef ACCQ_KERNELS_OPERANDS_H_
#define ACCQ_KERNELS_OPERANDS_H_

#include <cstddef>
#include <cstdint>

namespace accq {

// Of an input x, clamped to x' in [low, high].
enum class OperandForm { kShifted /* x' - low */, kMagnitude /* |x'| */, kValue /* x' */ };

struct OperandMap {
  OperandForm form;
  int8_t low, high;
};

// Equally long runs of bytes, each a stride from the one before, in input and output.
struct OperandRuns {
  const int8_t* from;
  ptrdiff_t from_stride;
  uint8_t* to;
  ptrdiff_t to_stride;
  int64_t runs;
  size_t bytes;  // of a run
};

// Maps the inputs of all runs and touches no other byte.
using MapOperands = void (*)(const OperandMap& map, const OperandRuns& runs);

}  // namespace accq

#endif  // ACCQ_KERNELS_OPERANDS_H_
