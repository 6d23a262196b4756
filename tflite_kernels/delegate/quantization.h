// Reading a tensor's scales and zero points, whichever runtime made them.
#ifndef ACCQ_DELEGATE_QUANTIZATION_H_
#define ACCQ_DELEGATE_QUANTIZATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "abi/tflite_abi.h"

namespace accq {

// Whether the runtime holds a TfLiteFloatArray's floats behind a pointer (abi/tflite_abi.h).
enum class FloatArrayLayout { kUnknown, kInline, kPointer };

// Tells the layout from a tensor that has one scale: the runtime itself says so in `params`, and
// then the array begins either with the size, 1, or with a pointer to a float, which is aligned
// and so can not look like 1. kUnknown when the tensor is not quantized so.
FloatArrayLayout DetectFloatArrayLayout(const TfLiteTensor& tensor);

// The one scale and zero point of a tensor: the scale a normal positive number, the zero point in
// int8. False and a text if it has not exactly one of each, or bad ones.
bool ReadPerTensor(const TfLiteTensor& tensor, float* scale, int32_t* zero_point,
                   std::string* error);

// The scale of every channel of a weight tensor: one for all, or `channels` of them along
// `dimension`; all positive normal numbers, all zero points 0. False and a text otherwise.
bool ReadWeightScales(const TfLiteTensor& tensor, FloatArrayLayout layout, int32_t channels,
                      int32_t dimension, std::vector<float>* scales, std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_QUANTIZATION_H_
