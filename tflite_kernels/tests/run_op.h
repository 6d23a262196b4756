// Runs an operator in memory that nothing may leave.
#ifndef ACCQ_TESTS_RUN_OP_H_
#define ACCQ_TESTS_RUN_OP_H_

#include <cstdint>
#include <vector>

#include "kernels/op.h"

namespace accq {

// Runs an operator with buffers of exactly the promised sizes, guarded (guarded_memory.h), scratch
// filled with rubbish: in that many parts, the last one first.
std::vector<int8_t> RunOp(const PackedOp& op, const OpSpec& spec, const Shape4& input,
                          const std::vector<int8_t>& values, int parts = 1);

}  // namespace accq

#endif  // ACCQ_TESTS_RUN_OP_H_
