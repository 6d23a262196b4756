// The part of TFLite's C interface that an external delegate touches, declared here because no
// package carries the headers. Field order, sizes and offsets are the ABI: they are asserted
// below for 64-bit and 32-bit targets. The runtime only ever appends fields, so a struct that it
// allocates and we read (context, node, tensor, delegate parameters) is declared as a prefix,
// while the one that we allocate and it copies (TfLiteRegistration) has the longest known layout
// and is filled with zeros.
//
// One change was not an append: newer runtimes hold an array of floats behind a pointer. See
// TfLiteFloatArray.
#ifndef ACCQ_ABI_TFLITE_ABI_H_
#define ACCQ_ABI_TFLITE_ABI_H_

#include <cstddef>
#include <cstdint>

extern "C" {

struct TfLiteContext;
struct TfLiteNode;
struct TfLiteDelegate;

enum TfLiteStatus : int { kTfLiteOk = 0, kTfLiteError = 1, kTfLiteDelegateError = 2 };

// The element types that this library names; a tensor may hold any other number.
enum TfLiteType : int { kTfLiteNoType = 0, kTfLiteInt32 = 2, kTfLiteInt8 = 9 };

enum TfLiteAllocationType : int {
  kTfLiteMemNone = 0,
  kTfLiteMmapRo = 1,  // constant: the bytes lie in the model file
  kTfLiteArenaRw = 2,
  kTfLiteArenaRwPersistent = 3,
  kTfLiteDynamic = 4,
  kTfLitePersistentRo = 5,  // constant: computed while preparing
  kTfLiteCustom = 6,
};

enum TfLiteQuantizationType : int { kTfLiteNoQuantization = 0, kTfLiteAffineQuantization = 1 };

enum : int64_t { kTfLiteDelegateFlagsAllowDynamicTensors = 1 };

// TfLiteRegistration.builtin_code.
enum : int32_t {
  kTfLiteBuiltinConv2d = 3,
  kTfLiteBuiltinDepthwiseConv2d = 4,
  kTfLiteBuiltinFullyConnected = 9,
  kTfLiteBuiltinCustom = 32,
  kTfLiteBuiltinTransposeConv = 67,
};

// Index of an optional tensor that is absent.
enum : int { kTfLiteOptionalTensor = -1 };

// Followed by `size` ints. Allocated with malloc and freed with free, also across this interface.
struct TfLiteIntArray {
  int size;
  // int data[size]
};

// Two layouts are in use: {int size; float data[size];} up to 2026, and {float* data; int size;
// bool owning;} after. Which one a runtime has is found at run time (delegate/quantization.h).
struct TfLiteFloatArray;

struct TfLiteQuantizationParams {
  float scale;  // 0 unless the tensor has exactly one scale and one zero point
  int32_t zero_point;
};

struct TfLiteQuantization {
  TfLiteQuantizationType type;
  void* params;  // TfLiteAffineQuantization for that type
};

struct TfLiteAffineQuantization {
  TfLiteFloatArray* scale;
  TfLiteIntArray* zero_point;
  int32_t quantized_dimension;
};

struct TfLiteTensor {
  TfLiteType type;
  void* data;
  TfLiteIntArray* dims;
  TfLiteQuantizationParams params;
  TfLiteAllocationType allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  TfLiteDelegate* delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  TfLiteQuantization quantization;
  void* sparsity;
  const TfLiteIntArray* dims_signature;
};

struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
};

struct TfLiteRegistration {
  void* (*init)(TfLiteContext* context, const char* buffer, size_t length);
  void (*free)(TfLiteContext* context, void* user_data);
  TfLiteStatus (*prepare)(TfLiteContext* context, TfLiteNode* node);
  TfLiteStatus (*invoke)(TfLiteContext* context, TfLiteNode* node);
  const char* (*profiling_string)(const TfLiteContext* context, const TfLiteNode* node);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* registration_external;
  void* async_kernel;
  uint64_t inplace_operator;
};

struct TfLiteDelegateParams {
  TfLiteDelegate* delegate;
  TfLiteIntArray* nodes_to_replace;
  TfLiteIntArray* input_tensors;
  TfLiteIntArray* output_tensors;
};

struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext* context, TfLiteIntArray** plan);
  TfLiteTensor* tensors;
  void* impl;
  // Takes ownership of `dims`, also when it fails.
  TfLiteStatus (*ResizeTensor)(TfLiteContext* context, TfLiteTensor* tensor, TfLiteIntArray* dims);
  void (*ReportError)(TfLiteContext* context, const char* format, ...);
  // May move `tensors`.
  TfLiteStatus (*AddTensors)(TfLiteContext* context, int count, int* first_index);
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext* context, int node_index, TfLiteNode** node,
                                         TfLiteRegistration** registration);
  // The registration is passed by value: a runtime that knows a shorter one reads its prefix. Not
  // so on 32-bit ARM, where its length also decides where the arguments after it lie: there an
  // older runtime may misread them.
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext* context,
                                                        TfLiteRegistration registration,
                                                        const TfLiteIntArray* nodes,
                                                        TfLiteDelegate* delegate);
  int recommended_num_threads;  // -1 where the user said nothing
};

// What TfLiteNode.builtin_data points to, for built-in operators of ours.

enum TfLitePadding : int { kTfLitePaddingSame = 1, kTfLitePaddingValid = 2 };

struct TfLiteConvParams {
  TfLitePadding padding;
  int stride_width, stride_height;
  int activation;
  int dilation_width_factor, dilation_height_factor;
};

struct TfLiteDepthwiseConvParams {
  TfLitePadding padding;
  int stride_width, stride_height;
  int depth_multiplier;
  int activation;
  int dilation_width_factor, dilation_height_factor;
};

struct TfLiteFullyConnectedParams {
  int activation;
  int weights_format;  // 0 as in the file, 1 shuffled
  bool keep_num_dims, asymmetric_quantize_inputs;
};

struct TfLiteTransposeConvParams {
  TfLitePadding padding;
  int stride_width, stride_height;
  int activation;
};

struct TfLiteDelegate {
  void* data;
  TfLiteStatus (*Prepare)(TfLiteContext* context, TfLiteDelegate* delegate);
  void* copy_from_buffer_handle;
  void* copy_to_buffer_handle;
  void* free_buffer_handle;
  int64_t flags;
  void* opaque_delegate_builder;
};

}  // extern "C"

namespace accq {

inline int* Data(TfLiteIntArray* array) { return reinterpret_cast<int*>(array + 1); }
inline const int* Data(const TfLiteIntArray* array) {
  return reinterpret_cast<const int*>(array + 1);
}

}  // namespace accq

// Expected offsets, 64-bit | 32-bit.
#define ACCQ_ABI_CHECK(type, field, offset64, offset32)                              \
  static_assert(offsetof(type, field) == (sizeof(void*) == 8 ? offset64 : offset32), \
                "ABI: offset of " #type "." #field)
#define ACCQ_ABI_SIZE(type, size64, size32) \
  static_assert(sizeof(type) == (sizeof(void*) == 8 ? size64 : size32), "ABI: size of " #type)

static_assert(sizeof(int) == 4 && sizeof(float) == 4 && sizeof(bool) == 1, "ABI: basic types");
static_assert(sizeof(void (*)()) == sizeof(void*), "ABI: function pointers");
ACCQ_ABI_SIZE(TfLiteIntArray, 4, 4);
ACCQ_ABI_SIZE(TfLiteQuantizationParams, 8, 8);
ACCQ_ABI_SIZE(TfLiteQuantization, 16, 8);
ACCQ_ABI_CHECK(TfLiteQuantization, params, 8, 4);
ACCQ_ABI_SIZE(TfLiteAffineQuantization, 24, 12);
ACCQ_ABI_CHECK(TfLiteAffineQuantization, zero_point, 8, 4);
ACCQ_ABI_CHECK(TfLiteAffineQuantization, quantized_dimension, 16, 8);

ACCQ_ABI_SIZE(TfLiteTensor, 112, 64);  // the stride of TfLiteContext.tensors
ACCQ_ABI_CHECK(TfLiteTensor, type, 0, 0);
ACCQ_ABI_CHECK(TfLiteTensor, data, 8, 4);
ACCQ_ABI_CHECK(TfLiteTensor, dims, 16, 8);
ACCQ_ABI_CHECK(TfLiteTensor, params, 24, 12);
ACCQ_ABI_CHECK(TfLiteTensor, allocation_type, 32, 20);
ACCQ_ABI_CHECK(TfLiteTensor, bytes, 40, 24);
ACCQ_ABI_CHECK(TfLiteTensor, allocation, 48, 28);
ACCQ_ABI_CHECK(TfLiteTensor, name, 56, 32);
ACCQ_ABI_CHECK(TfLiteTensor, delegate, 64, 36);
ACCQ_ABI_CHECK(TfLiteTensor, buffer_handle, 72, 40);
ACCQ_ABI_CHECK(TfLiteTensor, data_is_stale, 76, 44);
ACCQ_ABI_CHECK(TfLiteTensor, is_variable, 77, 45);
ACCQ_ABI_CHECK(TfLiteTensor, quantization, 80, 48);
ACCQ_ABI_CHECK(TfLiteTensor, sparsity, 96, 56);
ACCQ_ABI_CHECK(TfLiteTensor, dims_signature, 104, 60);

ACCQ_ABI_CHECK(TfLiteNode, inputs, 0, 0);
ACCQ_ABI_CHECK(TfLiteNode, outputs, 8, 4);
ACCQ_ABI_CHECK(TfLiteNode, temporaries, 24, 12);
ACCQ_ABI_CHECK(TfLiteNode, user_data, 32, 16);
ACCQ_ABI_CHECK(TfLiteNode, builtin_data, 40, 20);
ACCQ_ABI_CHECK(TfLiteNode, custom_initial_data, 48, 24);
ACCQ_ABI_CHECK(TfLiteNode, custom_initial_data_size, 56, 28);

ACCQ_ABI_SIZE(TfLiteRegistration, 88, 48);
ACCQ_ABI_CHECK(TfLiteRegistration, init, 0, 0);
ACCQ_ABI_CHECK(TfLiteRegistration, free, 8, 4);
ACCQ_ABI_CHECK(TfLiteRegistration, prepare, 16, 8);
ACCQ_ABI_CHECK(TfLiteRegistration, invoke, 24, 12);
ACCQ_ABI_CHECK(TfLiteRegistration, profiling_string, 32, 16);
ACCQ_ABI_CHECK(TfLiteRegistration, builtin_code, 40, 20);
ACCQ_ABI_CHECK(TfLiteRegistration, custom_name, 48, 24);
ACCQ_ABI_CHECK(TfLiteRegistration, version, 56, 28);
ACCQ_ABI_CHECK(TfLiteRegistration, registration_external, 64, 32);
ACCQ_ABI_CHECK(TfLiteRegistration, async_kernel, 72, 36);
ACCQ_ABI_CHECK(TfLiteRegistration, inplace_operator, 80, 40);

ACCQ_ABI_SIZE(TfLiteDelegateParams, 32, 16);
ACCQ_ABI_CHECK(TfLiteDelegateParams, nodes_to_replace, 8, 4);

ACCQ_ABI_CHECK(TfLiteContext, tensors_size, 0, 0);
ACCQ_ABI_CHECK(TfLiteContext, GetExecutionPlan, 8, 4);
ACCQ_ABI_CHECK(TfLiteContext, tensors, 16, 8);
ACCQ_ABI_CHECK(TfLiteContext, ResizeTensor, 32, 16);
ACCQ_ABI_CHECK(TfLiteContext, ReportError, 40, 20);
ACCQ_ABI_CHECK(TfLiteContext, AddTensors, 48, 24);
ACCQ_ABI_CHECK(TfLiteContext, GetNodeAndRegistration, 56, 28);
ACCQ_ABI_CHECK(TfLiteContext, ReplaceNodeSubsetsWithDelegateKernels, 64, 32);
ACCQ_ABI_CHECK(TfLiteContext, recommended_num_threads, 72, 36);

// Bytes of those that we read; newer runtimes have more behind.
ACCQ_ABI_SIZE(TfLiteConvParams, 24, 24);
ACCQ_ABI_CHECK(TfLiteConvParams, stride_width, 4, 4);
ACCQ_ABI_CHECK(TfLiteConvParams, activation, 12, 12);
ACCQ_ABI_CHECK(TfLiteConvParams, dilation_height_factor, 20, 20);
ACCQ_ABI_SIZE(TfLiteDepthwiseConvParams, 28, 28);
ACCQ_ABI_CHECK(TfLiteDepthwiseConvParams, depth_multiplier, 12, 12);
ACCQ_ABI_CHECK(TfLiteDepthwiseConvParams, activation, 16, 16);
ACCQ_ABI_CHECK(TfLiteDepthwiseConvParams, dilation_height_factor, 24, 24);
ACCQ_ABI_SIZE(TfLiteFullyConnectedParams, 12, 12);
ACCQ_ABI_CHECK(TfLiteFullyConnectedParams, weights_format, 4, 4);
ACCQ_ABI_CHECK(TfLiteFullyConnectedParams, keep_num_dims, 8, 8);
ACCQ_ABI_CHECK(TfLiteFullyConnectedParams, asymmetric_quantize_inputs, 9, 9);
ACCQ_ABI_SIZE(TfLiteTransposeConvParams, 16, 16);
ACCQ_ABI_CHECK(TfLiteTransposeConvParams, activation, 12, 12);

ACCQ_ABI_CHECK(TfLiteDelegate, data, 0, 0);
ACCQ_ABI_CHECK(TfLiteDelegate, Prepare, 8, 4);
// A 32-bit x86 aligns int64_t in a struct to 4 bytes, ARM to 8.
ACCQ_ABI_CHECK(TfLiteDelegate, flags, 40, (alignof(TfLiteDelegate) == 8 ? 24 : 20));
ACCQ_ABI_CHECK(TfLiteDelegate, opaque_delegate_builder, 48,
               (alignof(TfLiteDelegate) == 8 ? 32 : 28));

#undef ACCQ_ABI_CHECK
#undef ACCQ_ABI_SIZE

#endif  // ACCQ_ABI_TFLITE_ABI_H_
