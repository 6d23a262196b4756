// From a node of the graph to the layer that it stands for.
#ifndef ACCQ_DELEGATE_NODE_SPEC_H_
#define ACCQ_DELEGATE_NODE_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "abi/tflite_abi.h"
#include "delegate/op_options.h"
#include "kernels/op.h"

namespace accq {

struct NodeSpec {
  int node = 0;  // index in its subgraph, which is the operator's index in the file
  const char* op_name = "";
  bool builtin = false;       // an operator of TFLite's, taken as it is in the file
  std::string output_name;    // printable
  int input = 0, output = 0;  // tensor indices
  int32_t batch = 0;          // transposed convolution: of the output shape in the file
  OpOptions options;
  // Its weights and bias lie in the model file, which outlives the node.
  OpSpec spec;
};

// Is this one of our custom ops? Then *kind and *op_name (a constant) say which.
bool IsAccqOp(const TfLiteRegistration& registration, OpKind* kind, const char** op_name);

// Is this an int8 built-in operator of the kinds that we have custom ops for? Whether it can be
// taken is for ReadNode to say.
bool IsInt8Builtin(const TfLiteContext& context, const TfLiteNode& node,
                   const TfLiteRegistration& registration);

// Reads and checks a node that IsAccqOp or IsInt8Builtin. Nothing in it is trusted: options, tensor
// indices, types, shapes, quantization, sizes of constants. False and a text that names the op, the
// node, its output tensor and what is wrong.
bool ReadNode(const TfLiteContext& context, int index, const TfLiteNode& node,
              const TfLiteRegistration& registration, NodeSpec* out, std::string* error);

// The input of a node as the kernels see it, from its present shape; and the shape of its output.
// False and a text when the shape does not suit the layer.
bool ReadShapes(const NodeSpec& node, const TfLiteTensor& input, Shape4* shape,
                std::vector<int32_t>* output_dims, std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_NODE_SPEC_H_
