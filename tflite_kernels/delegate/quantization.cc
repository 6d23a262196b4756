#include "delegate/quantization.h"

#include <cmath>
#include <cstring>

#include "delegate/text.h"

namespace accq {
namespace {

const TfLiteAffineQuantization* Affine(const TfLiteTensor& tensor) {
  if (tensor.quantization.type != kTfLiteAffineQuantization) return nullptr;
  return static_cast<const TfLiteAffineQuantization*>(tensor.quantization.params);
}

struct InlineFloats {
  int size;
  // float data[size]
};

struct PointedFloats {
  const float* data;
  int size;
};

// The floats of an array and how many there are; null when there are none.
const float* Floats(const TfLiteFloatArray* array, FloatArrayLayout layout, int* size) {
  if (layout == FloatArrayLayout::kPointer) {
    const PointedFloats* floats = reinterpret_cast<const PointedFloats*>(array);
    *size = floats->size;
    return floats->data;
  }
  const InlineFloats* floats = reinterpret_cast<const InlineFloats*>(array);
  *size = floats->size;
  return reinterpret_cast<const float*>(floats + 1);
}

// A denormal scale would lose digits in the multiplier, and is flushed to 0 in some modes.
bool IsScale(float scale) { return std::isnormal(scale) && scale > 0.0f; }

}  // namespace

FloatArrayLayout DetectFloatArrayLayout(const TfLiteTensor& tensor) {
  const TfLiteAffineQuantization* affine = Affine(tensor);
  if (tensor.params.scale == 0.0f || affine == nullptr || affine->scale == nullptr) {
    return FloatArrayLayout::kUnknown;
  }
  int first = 0;
  memcpy(&first, affine->scale, sizeof(first));
  return first == 1 ? FloatArrayLayout::kInline : FloatArrayLayout::kPointer;
}

bool ReadPerTensor(const TfLiteTensor& tensor, float* scale, int32_t* zero_point,
                   std::string* error) {
  *scale = tensor.params.scale;
  *zero_point = tensor.params.zero_point;
  if (*scale == 0.0f) {
    *error = "is not quantized with one scale and one zero point";
    return false;
  }
  if (!IsScale(*scale)) {
    *error = Format("has the scale %g, not a positive normal number", static_cast<double>(*scale));
    return false;
  }
  if (*zero_point < -128 || *zero_point > 127) {
    *error = Format("has the zero point %d, not in [-128, 127]", *zero_point);
    return false;
  }
  return true;
}

bool ReadWeightScales(const TfLiteTensor& tensor, FloatArrayLayout layout, int32_t channels,
                      int32_t dimension, std::vector<float>* scales, std::string* error) {
  if (tensor.params.scale != 0.0f) {  // one scale
    if (tensor.params.zero_point != 0) {
      *error = Format("has the zero point %d, not 0", tensor.params.zero_point);
      return false;
    }
    scales->assign(static_cast<size_t>(channels), tensor.params.scale);
  } else {
    const TfLiteAffineQuantization* affine = Affine(tensor);
    if (affine == nullptr || affine->scale == nullptr || layout == FloatArrayLayout::kUnknown) {
      *error = "is not quantized";
      return false;
    }
    int size = 0;
    const float* data = Floats(affine->scale, layout, &size);
    if (data == nullptr || size != channels) {
      *error = Format("has %d scales for %d channels", size, channels);
      return false;
    }
    if (affine->quantized_dimension != dimension) {
      *error = Format("has its scales along dimension %d, not %d", affine->quantized_dimension,
                      dimension);
      return false;
    }
    // Some runtimes fold equal zero points into one.
    const TfLiteIntArray* zeros = affine->zero_point;
    if (zeros == nullptr || (zeros->size != 1 && zeros->size != channels)) {
      *error = Format("has %d zero points for %d channels", zeros == nullptr ? 0 : zeros->size,
                      channels);
      return false;
    }
    for (int i = 0; i < zeros->size; ++i) {
      if (Data(zeros)[i] != 0) {
        *error = Format("has the zero point %d in channel %d, not 0", Data(zeros)[i], i);
        return false;
      }
    }
    scales->assign(data, data + channels);
  }
  for (int32_t c = 0; c < channels; ++c) {
    const float scale = (*scales)[static_cast<size_t>(c)];
    if (!IsScale(scale)) {
      *error = Format("has the scale %g in channel %d, not a positive normal number",
                      static_cast<double>(scale), c);
      return false;
    }
  }
  return true;
}

}  // namespace accq
