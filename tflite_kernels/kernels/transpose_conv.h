#ifndef ACCQ_KERNELS_TRANSPOSE_CONV_H_
#define ACCQ_KERNELS_TRANSPOSE_CONV_H_

#include <memory>
#include <string>

#include "kernels/conv_loops.h"
#include "kernels/op.h"

namespace accq {

// A transposed convolution as the convolutions of its phases (phases.h), each with weights,
// schedule and strips of its own, that write every stride-th output.
std::unique_ptr<PackedOp> CreateTransposeConv(const OpSpec& spec, const ConvLoops& loops,
                                              std::string* error);

}  // namespace accq

#endif  // ACCQ_KERNELS_TRANSPOSE_CONV_H_
