#ifndef ACCQ_KERNELS_CONV_OP_H_
#define ACCQ_KERNELS_CONV_OP_H_

#include <memory>
#include <string>

#include "kernels/conv_loops.h"
#include "kernels/op.h"

namespace accq {

// What CreateConv takes: convolution (groups, strides, dilation), transposed or not, and fully
// connected layers.
inline bool IsConv(const OpSpec& spec) { return spec.kind != OpKind::kDepthwiseConv2D; }

// A layer packed for an instruction set's loops. Null and a text when memory runs out.
std::unique_ptr<PackedOp> CreateConv(const OpSpec& spec, const ConvLoops& loops,
                                     std::string* error);

}  // namespace accq

#endif  // ACCQ_KERNELS_CONV_OP_H_
