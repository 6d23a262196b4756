// The options that a custom op carries in the file: which keys there are, their ranges and
// defaults.
#ifndef ACCQ_DELEGATE_OP_OPTIONS_H_
#define ACCQ_DELEGATE_OP_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/op.h"

namespace accq {

// TFLite's numbers for a fused activation function.
enum class Activation : int32_t { kNone = 0, kRelu = 1, kReluN1To1 = 2, kRelu6 = 3 };

struct OpOptions {
  // What the file claims of its accumulators. The kernels do not rely on it: they derive what is
  // safe from the weights themselves.
  int32_t acc_bits = 16, partition = 0, partition_size = 0;

  int32_t in_min = -128, in_max = 127, out_min = -128, out_max = 127;
  int32_t activation = 0;  // Activation

  // Convolutions; the transposed one has no dilation.
  int32_t padding = 0;  // 0 SAME, 1 VALID
  int32_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  // Depthwise convolution.
  int32_t depth_multiplier = 1;
  // Fully connected.
  int32_t keep_num_dims = 0;
  int32_t form = 0;  // which built-in form it came from; the arithmetic is the same
};

// Reads the options of an op of that kind. False and a text that names the key when the blob is
// malformed, of a later version, has an unknown key or a value out of range.
bool ParseOpOptions(OpKind kind, const uint8_t* blob, size_t size, OpOptions* options,
                    std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_OP_OPTIONS_H_
