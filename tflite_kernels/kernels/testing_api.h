/* What Python tests load through ctypes: kernels on plain arrays, and the spill figures of layouts.
 * Only in the shared library accq_testing (CMake option ACCQ_BUILD_TESTS); no user needs it. */
#ifndef ACCQ_KERNELS_TESTING_API_H_
#define ACCQ_KERNELS_TESTING_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* OpSpec of op.h and the input's shape. Arrays have the sizes that op.h says. */
typedef struct AccqLayer {
  int32_t kind; /* 0 convolution, 1 depthwise, 2 fully connected, 3 transposed convolution */
  int32_t n, h, w;
  int32_t in_channels, out_channels;
  int32_t filter_h, filter_w;
  int32_t groups, depth_multiplier;
  int32_t stride_h, stride_w;
  int32_t dilation_h, dilation_w;
  int32_t same_padding;
  int32_t in_zero, out_zero;
  int32_t in_min, in_max;
  int32_t out_min, out_max;
  int32_t out_h, out_w; /* of a transposed convolution */
  const int8_t* weights;
  const int32_t* bias; /* or null */
  const float* multiplier;
} AccqLayer;

/* The names of the dispatch table, best first; null from its end on. */
const char* accq_kernel_name(int32_t index);

/* All of these return 0 on success; else they write a text of at most error_size bytes, its end
 * included, and return 1. */

/* output receives n, h, w and c. */
int32_t accq_output_shape(const AccqLayer* layer, int32_t output[4], char* error,
                          size_t error_size);

/* Validates the layer, then runs `kernel`, or the first fit one if it is "". in is [n][h][w]
 * [in_channels], out is as accq_output_shape says. report receives steps, spills, extra_steps,
 * int32_steps. */
int32_t accq_run(const char* kernel, const AccqLayer* layer, const int8_t* in, int8_t* out,
                 int64_t report[4], char* error, size_t error_size);

/* Steps, spills, extra steps and int32 steps of a layout of keras_accq/layouts.py for the
 * layer's weights and operand range, all channel blocks together, on any CPU. The input's shape,
 * scales and zero points do not matter. */
int32_t accq_layout_spills(const char* layout, const AccqLayer* layer, int64_t figures[4],
                           char* error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif  // ACCQ_KERNELS_TESTING_API_H_
