#ifndef ACCQ_KERNELS_DEPTHWISE_OP_H_
#define ACCQ_KERNELS_DEPTHWISE_OP_H_

#include <memory>
#include <string>

#include "kernels/depthwise_loops.h"
#include "kernels/op.h"

namespace accq {

// What CreateDepthwise takes: depthwise convolution with one output per input channel.
inline bool IsPlainDepthwise(const OpSpec& spec) {
  return spec.kind == OpKind::kDepthwiseConv2D && spec.depth_multiplier == 1;
}

// A layer packed for an instruction set's loops. Null and a text when memory runs out.
std::unique_ptr<PackedOp> CreateDepthwise(const OpSpec& spec, const DepthwiseLoops& loops,
                                          std::string* error);

}  // namespace accq

#endif  // ACCQ_KERNELS_DEPTHWISE_OP_H_
