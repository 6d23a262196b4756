#include "delegate/builtin_options.h"

#include "abi/tflite_abi.h"
#include "delegate/text.h"

namespace accq {
namespace {

// What the four operators have in common, if they have it.
struct Common {
  int activation = 0;
  int padding = kTfLitePaddingValid;
  int stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, depth_multiplier = 1;
};

template <typename Params>
Common Strided(const Params& params) {
  Common common;
  common.activation = params.activation;
  common.padding = params.padding;
  common.stride_h = params.stride_height;
  common.stride_w = params.stride_width;
  return common;
}

template <typename Params>
Common Dilated(const Params& params) {
  Common common = Strided(params);
  common.dilation_h = params.dilation_height_factor;
  common.dilation_w = params.dilation_width_factor;
  return common;
}

bool ReadFullyConnected(const TfLiteFullyConnectedParams& params, Common* common,
                        OpOptions* options, std::string* error) {
  if (params.weights_format != 0 || params.asymmetric_quantize_inputs) {
    *error = "its weights are shuffled, or its inputs quantized while it runs";
    return false;
  }
  common->activation = params.activation;
  options->keep_num_dims = params.keep_num_dims ? 1 : 0;
  return true;
}

}  // namespace

bool ReadBuiltinOptions(OpKind kind, const void* builtin_data, OpOptions* options,
                        std::string* error) {
  if (builtin_data == nullptr) {
    *error = "it has no options";
    return false;
  }
  Common common;
  switch (kind) {
    case OpKind::kConv2D:
      common = Dilated(*static_cast<const TfLiteConvParams*>(builtin_data));
      break;
    case OpKind::kDepthwiseConv2D: {
      const auto& params = *static_cast<const TfLiteDepthwiseConvParams*>(builtin_data);
      common = Dilated(params);
      common.depth_multiplier = params.depth_multiplier;
      break;
    }
    case OpKind::kTransposeConv:
      common = Strided(*static_cast<const TfLiteTransposeConvParams*>(builtin_data));
      break;
    case OpKind::kFullyConnected:
      if (!ReadFullyConnected(*static_cast<const TfLiteFullyConnectedParams*>(builtin_data),
                              &common, options, error)) {
        return false;
      }
      break;
  }
  if (common.activation < 0 || common.activation > 3) {
    *error = Format(
        "its activation is number %d; none, RELU, RELU_N1_TO_1 and RELU6 (0 to 3) are "
        "taken",
        common.activation);
    return false;
  }
  if (common.padding != kTfLitePaddingSame && common.padding != kTfLitePaddingValid) {
    *error =
        Format("its padding is number %d; only SAME (1) and VALID (2) are taken", common.padding);
    return false;
  }
  const int sizes[] = {common.stride_h, common.stride_w, common.dilation_h, common.dilation_w,
                       common.depth_multiplier};
  for (const int size : sizes) {
    if (size >= 1) continue;
    *error =
        Format("it has a stride, dilation or depth multiplier of %d; at least 1 is needed", size);
    return false;
  }
  options->activation = common.activation;
  options->padding = common.padding == kTfLitePaddingSame ? 0 : 1;
  options->stride_h = common.stride_h;
  options->stride_w = common.stride_w;
  options->dilation_h = common.dilation_h;
  options->dilation_w = common.dilation_w;
  options->depth_multiplier = common.depth_multiplier;
  return true;
}

}  // namespace accq
