#include "delegate/node_spec.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstring>

#include "delegate/builtin_options.h"
#include "delegate/quantization.h"
#include "delegate/text.h"

namespace accq {
namespace {

constexpr struct {
  const char* name;
  OpKind kind;
  int32_t builtin_code;
  const char* builtin_name;
} kOps[] = {
    {"AccqConv2D", OpKind::kConv2D, kTfLiteBuiltinConv2d, "CONV_2D"},
    {"AccqDepthwiseConv2D", OpKind::kDepthwiseConv2D, kTfLiteBuiltinDepthwiseConv2d,
     "DEPTHWISE_CONV_2D"},
    {"AccqFullyConnected", OpKind::kFullyConnected, kTfLiteBuiltinFullyConnected,
     "FULLY_CONNECTED"},
    {"AccqTransposeConv", OpKind::kTransposeConv, kTfLiteBuiltinTransposeConv, "TRANSPOSE_CONV"},
};

bool IsBuiltinOp(const TfLiteRegistration& registration, OpKind* kind, const char** op_name) {
  if (registration.custom_name != nullptr) return false;
  for (const auto& op : kOps) {
    if (registration.builtin_code == op.builtin_code) {
      *kind = op.kind;
      *op_name = op.builtin_name;
      return true;
    }
  }
  return false;
}

std::string Where(const NodeSpec& node) {
  return Format("keras-accq: %s (node %d, output \"%s\"): ", node.op_name, node.node,
                ShortName(node.output_name.c_str()).c_str());
}

int Rank(const TfLiteTensor& tensor) { return tensor.dims == nullptr ? 0 : tensor.dims->size; }
int Dim(const TfLiteTensor& tensor, int i) { return Data(tensor.dims)[i]; }

std::string DimsText(const TfLiteTensor& tensor) {
  std::string text = "[";
  for (int i = 0; i < Rank(tensor) && i < 8; ++i) {
    text += Format(i == 0 ? "%d" : ", %d", Dim(tensor, i));
  }
  return text + "]";
}

// The number of elements, known to be positive and to fit int64.
bool Elements(const TfLiteTensor& tensor, int64_t* count, std::string* error) {
  *count = 1;
  for (int i = 0; i < Rank(tensor); ++i) {
    const int dim = Dim(tensor, i);
    if (dim <= 0 || *count > INT64_MAX / dim) {
      *error = Format("has the shape %s, whose sizes must be positive and not overflow",
                      DimsText(tensor).c_str());
      return false;
    }
    *count *= dim;
  }
  return true;
}

const TfLiteTensor* TensorAt(const TfLiteContext& context, int index) {
  if (index < 0 || static_cast<size_t>(index) >= context.tensors_size) return nullptr;
  return context.tensors == nullptr ? nullptr : &context.tensors[index];
}

bool IsConstant(const TfLiteTensor& tensor) {
  return tensor.allocation_type == kTfLiteMmapRo && tensor.data != nullptr;
}

// A constant of that type and rank whose bytes in the file cover its shape.
bool CheckConstant(const TfLiteTensor& tensor, TfLiteType type, int rank, std::string* error) {
  const bool is_int8 = type == kTfLiteInt8;
  if (tensor.type != type) {
    *error = Format("has the type %d, not %s", tensor.type, is_int8 ? "int8" : "int32");
    return false;
  }
  if (tensor.sparsity != nullptr) {
    *error = "is sparse";
    return false;
  }
  if (!IsConstant(tensor)) {
    *error = "is not a constant of the file";
    return false;
  }
  if (Rank(tensor) != rank) {
    *error = Format("has the shape %s, not %d dimensions", DimsText(tensor).c_str(), rank);
    return false;
  }
  int64_t count = 0;
  if (!Elements(tensor, &count, error)) return false;
  const uint64_t held = tensor.bytes / (is_int8 ? 1 : 4);
  if (held < static_cast<uint64_t>(count)) {
    *error = Format("holds %" PRIu64 " elements for the shape %s", held, DimsText(tensor).c_str());
    return false;
  }
  return true;
}

// The quantized value of an activation's limit, as stock LiteRT computes it in float32.
int32_t Limit(float value, float scale, int32_t zero_point) {
  const float quantized = value / scale + static_cast<float>(zero_point);
  return static_cast<int32_t>(lrintf(std::min(std::max(quantized, -128.0f), 127.0f)));
}

// Activation first, then the output range: composed into one clamp, also when they do not meet.
void SetOutputRange(const OpOptions& options, float scale, int32_t zero_point, OpSpec* spec) {
  int32_t low = -128, high = 127;
  switch (static_cast<Activation>(options.activation)) {
    case Activation::kNone:
      break;
    case Activation::kRelu:
      low = Limit(0.0f, scale, zero_point);
      break;
    case Activation::kReluN1To1:
      low = Limit(-1.0f, scale, zero_point);
      high = Limit(1.0f, scale, zero_point);
      break;
    case Activation::kRelu6:
      low = Limit(0.0f, scale, zero_point);
      high = Limit(6.0f, scale, zero_point);
      break;
  }
  spec->out_min = std::min(std::max(low, options.out_min), options.out_max);
  spec->out_max = std::min(std::max(high, options.out_min), options.out_max);
}

// The geometry of a layer from the shapes of its weights and input.
bool SetGeometry(const OpOptions& options, const TfLiteTensor& weights, const TfLiteTensor& input,
                 OpSpec* spec, std::string* error) {
  if (spec->kind == OpKind::kFullyConnected) {
    spec->out_channels = Dim(weights, 0);
    spec->in_channels = Dim(weights, 1);
    return true;
  }
  if (Rank(input) != 4 || Dim(input, 3) <= 0) {
    *error = Format("the input has the shape %s, not [batch, height, width, channels]",
                    DimsText(input).c_str());
    return false;
  }
  const int channels = Dim(input, 3);
  spec->in_channels = channels;
  spec->filter_h = Dim(weights, 1);
  spec->filter_w = Dim(weights, 2);
  spec->stride_h = options.stride_h;
  spec->stride_w = options.stride_w;
  spec->dilation_h = options.dilation_h;
  spec->dilation_w = options.dilation_w;
  spec->same_padding = options.padding == 0;
  if (spec->kind == OpKind::kConv2D) {
    spec->out_channels = Dim(weights, 0);
    const int filter_channels = Dim(weights, 3);
    spec->groups = channels / filter_channels;
    if (channels % filter_channels != 0 || spec->out_channels % spec->groups != 0) {
      *error = Format("weights of the shape %s do not suit %d input channels",
                      DimsText(weights).c_str(), channels);
      return false;
    }
  } else if (spec->kind == OpKind::kTransposeConv) {
    spec->out_channels = Dim(weights, 0);
    if (Dim(weights, 3) != channels) {
      *error = Format("weights of the shape %s do not suit %d input channels",
                      DimsText(weights).c_str(), channels);
      return false;
    }
  } else {
    spec->out_channels = Dim(weights, 3);
    spec->depth_multiplier = options.depth_multiplier;
    if (Dim(weights, 0) != 1 ||
        static_cast<int64_t>(channels) * options.depth_multiplier != spec->out_channels) {
      *error = Format(
          "weights of the shape %s do not suit %d input channels and depth_multiplier "
          "%d",
          DimsText(weights).c_str(), channels, options.depth_multiplier);
      return false;
    }
  }
  return true;
}

// The output's size, which a transposed convolution has as a constant [batch, height, width,
// channels]. Its values are copied: they are checked once, here.
bool ReadOutputShape(const TfLiteTensor& shape, NodeSpec* node, std::string* error) {
  if (!CheckConstant(shape, kTfLiteInt32, 1, error)) return false;
  int32_t sizes[4];
  if (Dim(shape, 0) != 4) {
    *error = Format("has %d elements, not 4", Dim(shape, 0));
    return false;
  }
  memcpy(sizes, shape.data, sizeof(sizes));
  if (sizes[3] != node->spec.out_channels) {
    *error = Format("has %d channels, and the weights %d", sizes[3], node->spec.out_channels);
    return false;
  }
  node->batch = sizes[0];
  node->spec.out_h = sizes[1];
  node->spec.out_w = sizes[2];
  return true;
}

// Checks and reads everything of a node whose tensors exist; `shape` is null but for a transposed
// convolution. The text lacks the place.
bool ReadTensors(const TfLiteTensor* shape, const TfLiteTensor& input, const TfLiteTensor& weights,
                 const TfLiteTensor* bias, const TfLiteTensor& output, NodeSpec* node,
                 std::string* error) {
  OpSpec& spec = node->spec;
  const auto in_tensor = [&](const char* which) {
    *error = std::string("the ") + which + " " + *error;
    return false;
  };

  if (input.type != kTfLiteInt8 || output.type != kTfLiteInt8) {
    *error =
        Format("the input and output have the types %d and %d, not int8", input.type, output.type);
    return false;
  }
  // Writing to a constant would write to the mapped model file.
  if (output.allocation_type == kTfLiteMmapRo || output.allocation_type == kTfLitePersistentRo) {
    *error = "the output is a constant";
    return false;
  }
  const bool fully_connected = spec.kind == OpKind::kFullyConnected;
  if (!CheckConstant(weights, kTfLiteInt8, fully_connected ? 2 : 4, error)) {
    return in_tensor("weights tensor");
  }
  if (!SetGeometry(node->options, weights, input, &spec, error)) return false;
  if (shape != nullptr && !ReadOutputShape(*shape, node, error)) {
    return in_tensor("output shape");
  }
  if (bias != nullptr) {
    // Counted in units of input scale times weight scale, whatever scale it declares: as in
    // stock LiteRT.
    if (!CheckConstant(*bias, kTfLiteInt32, 1, error)) return in_tensor("bias");
    if (Dim(*bias, 0) != spec.out_channels) {
      *error = Format("the bias has %d elements for %d channels", Dim(*bias, 0), spec.out_channels);
      return false;
    }
    spec.bias = static_cast<const int32_t*>(bias->data);
  }
  spec.weights = static_cast<const int8_t*>(weights.data);

  float input_scale = 0, output_scale = 0;
  std::vector<float> weight_scales;
  const int32_t dimension = spec.kind == OpKind::kDepthwiseConv2D ? 3 : 0;
  if (!ReadPerTensor(input, &input_scale, &spec.in_zero, error)) return in_tensor("input");
  if (!ReadPerTensor(output, &output_scale, &spec.out_zero, error)) return in_tensor("output");
  if (!ReadWeightScales(weights, DetectFloatArrayLayout(input), spec.out_channels, dimension,
                        &weight_scales, error)) {
    return in_tensor("weights tensor");
  }
  for (const float weight_scale : weight_scales) {
    // Two roundings to float32, as in stock LiteRT, which leaves XNNPACK for another kernel where
    // the product is denormal. A thread that flushes denormals to zero is stopped here, too: it
    // may refuse a layer but never compute another result.
    const float product = input_scale * weight_scale;
    if (!std::isnormal(product)) {
      *error = Format("channel %zu: input scale %g times weight scale %g is no normal number",
                      spec.multiplier.size(), static_cast<double>(input_scale),
                      static_cast<double>(weight_scale));
      return false;
    }
    spec.multiplier.push_back(product / output_scale);
  }

  spec.in_min = node->options.in_min;
  spec.in_max = node->options.in_max;
  SetOutputRange(node->options, output_scale, spec.out_zero, &spec);
  return ValidateSpec(spec, error);
}

bool ReadFullyConnectedShapes(const NodeSpec& node, const TfLiteTensor& input, int64_t count,
                              Shape4* shape, std::vector<int32_t>* output_dims,
                              std::string* error) {
  const int32_t channels = node.spec.in_channels;
  const bool keep = node.options.keep_num_dims != 0;
  const int rank = Rank(input);
  const int64_t batch = count / channels;
  if (rank < 1 || count % channels != 0 || batch > INT32_MAX ||
      (keep && Dim(input, rank - 1) != channels)) {
    *error = Format("the input has the shape %s, which does not hold rows of %d values",
                    DimsText(input).c_str(), channels);
    return false;
  }
  *shape = Shape4{static_cast<int32_t>(batch), 1, 1, channels};
  if (keep) {
    output_dims->assign(Data(input.dims), Data(input.dims) + rank - 1);
  } else {
    output_dims->assign(1, static_cast<int32_t>(batch));
  }
  output_dims->push_back(node.spec.out_channels);
  return true;
}

bool ReadShapeParts(const NodeSpec& node, const TfLiteTensor& input, Shape4* shape,
                    std::vector<int32_t>* output_dims, std::string* error) {
  int64_t count = 0;
  if (!Elements(input, &count, error)) {
    *error = "the input " + *error;
    return false;
  }
  Shape4 output;
  if (node.spec.kind == OpKind::kFullyConnected) {
    return ReadFullyConnectedShapes(node, input, count, shape, output_dims, error) &&
           OutputShape(node.spec, *shape, &output, error);
  }
  if (Rank(input) != 4 || Dim(input, 3) != node.spec.in_channels) {
    *error = Format("the input has the shape %s, not [batch, height, width, %d]",
                    DimsText(input).c_str(), node.spec.in_channels);
    return false;
  }
  if (node.spec.kind == OpKind::kTransposeConv && Dim(input, 0) != node.batch) {
    *error = Format("the input has the shape %s, whose batch is not the %d of the output shape",
                    DimsText(input).c_str(), node.batch);
    return false;
  }
  *shape = Shape4{Dim(input, 0), Dim(input, 1), Dim(input, 2), Dim(input, 3)};
  if (!OutputShape(node.spec, *shape, &output, error)) return false;
  *output_dims = {output.n, output.h, output.w, output.c};
  return true;
}

// A built-in operator's output has the shape that the file says, which the runtime has not computed
// yet. Where that is not what the layer gives, the runtime's own kernel shall have its say.
bool CheckOutputShape(const NodeSpec& node, const TfLiteTensor& input, const TfLiteTensor& output,
                      std::string* error) {
  Shape4 shape;
  std::vector<int32_t> dims;
  if (!ReadShapeParts(node, input, &shape, &dims, error)) return false;
  if (dims.size() == static_cast<size_t>(Rank(output)) &&
      (dims.empty() || std::equal(dims.begin(), dims.end(), Data(output.dims)))) {
    return true;
  }
  *error = Format("the output has the shape %s, which is not what the input and weights give",
                  DimsText(output).c_str());
  return false;
}

bool ReadParts(const TfLiteContext& context, const TfLiteNode& node, NodeSpec* out,
               std::string* error) {
  const TfLiteIntArray* inputs = node.inputs;
  const TfLiteIntArray* outputs = node.outputs;
  const int input_count = inputs == nullptr ? 0 : inputs->size;
  const int output_count = outputs == nullptr ? 0 : outputs->size;
  // Input and weights; a transposed convolution has the output's shape, weights and input.
  const bool transposed = out->spec.kind == OpKind::kTransposeConv;
  const int needed = transposed ? 3 : 2;
  if (input_count < needed || input_count > needed + 1 || output_count != 1) {
    *error =
        Format("it has %d inputs and %d outputs, not %s, optional bias and one output", input_count,
               output_count, transposed ? "output shape, weights, input" : "input, weights");
    return false;
  }
  out->input = Data(inputs)[transposed ? 2 : 0];
  out->output = Data(outputs)[0];
  const int bias_index = input_count > needed ? Data(inputs)[needed] : kTfLiteOptionalTensor;
  const TfLiteTensor* shape = transposed ? TensorAt(context, Data(inputs)[0]) : nullptr;
  const TfLiteTensor* input = TensorAt(context, out->input);
  const TfLiteTensor* weights = TensorAt(context, Data(inputs)[1]);
  const TfLiteTensor* bias = TensorAt(context, bias_index);
  const TfLiteTensor* output = TensorAt(context, out->output);
  if (output != nullptr) out->output_name = Printable(output->name);
  if (transposed && shape == nullptr) {
    *error = Format("it names the tensor %d, which does not exist", Data(inputs)[0]);
    return false;
  }
  if (input == nullptr || weights == nullptr || output == nullptr ||
      (bias == nullptr && bias_index != kTfLiteOptionalTensor)) {
    *error = Format("it names the tensors %d, %d, %d and %d, of which one does not exist",
                    out->input, Data(inputs)[1], bias_index, out->output);
    return false;
  }
  if (output == input) {
    *error = "its output is its input";
    return false;
  }
  if (out->builtin) {
    return ReadBuiltinOptions(out->spec.kind, node.builtin_data, &out->options, error) &&
           ReadTensors(shape, *input, *weights, bias, *output, out, error) &&
           CheckOutputShape(*out, *input, *output, error);
  }
  if (node.custom_initial_data == nullptr || node.custom_initial_data_size <= 0) {
    *error = "it has no options";
    return false;
  }
  return ParseOpOptions(out->spec.kind, static_cast<const uint8_t*>(node.custom_initial_data),
                        static_cast<size_t>(node.custom_initial_data_size), &out->options, error) &&
         ReadTensors(shape, *input, *weights, bias, *output, out, error);
}

}  // namespace

bool IsAccqOp(const TfLiteRegistration& registration, OpKind* kind, const char** op_name) {
  if (registration.custom_name == nullptr) return false;
  for (const auto& op : kOps) {
    if (strcmp(registration.custom_name, op.name) == 0) {
      *kind = op.kind;
      *op_name = op.name;
      return true;
    }
  }
  return false;
}

bool IsInt8Builtin(const TfLiteContext& context, const TfLiteNode& node,
                   const TfLiteRegistration& registration) {
  OpKind kind;
  const char* name;
  if (!IsBuiltinOp(registration, &kind, &name)) return false;
  const int place = kind == OpKind::kTransposeConv ? 2 : 0;
  if (node.inputs == nullptr || node.inputs->size <= place) return false;
  const TfLiteTensor* input = TensorAt(context, Data(node.inputs)[place]);
  return input != nullptr && input->type == kTfLiteInt8;
}

bool ReadNode(const TfLiteContext& context, int index, const TfLiteNode& node,
              const TfLiteRegistration& registration, NodeSpec* out, std::string* error) {
  *out = NodeSpec();
  out->node = index;
  if (!IsAccqOp(registration, &out->spec.kind, &out->op_name)) {
    out->builtin = IsBuiltinOp(registration, &out->spec.kind, &out->op_name);
    if (!out->builtin) {
      *error = Format("keras-accq: node %d is no operator of its kinds", index);
      return false;
    }
  }
  if (ReadParts(context, node, out, error)) return true;
  *error = Where(*out) + *error;
  return false;
}

bool ReadShapes(const NodeSpec& node, const TfLiteTensor& input, Shape4* shape,
                std::vector<int32_t>* output_dims, std::string* error) {
  if (ReadShapeParts(node, input, shape, output_dims, error)) return true;
  *error = Where(node) + *error;
  return false;
}

}  // namespace accq
