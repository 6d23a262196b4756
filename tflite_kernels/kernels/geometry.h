// Where windows lie: TFLite's output sizes and SAME padding, and the sizes of a layer's arrays.
#ifndef ACCQ_KERNELS_GEOMETRY_H_
#define ACCQ_KERNELS_GEOMETRY_H_

#include <cstddef>
#include <cstdint>

#include "kernels/op.h"

namespace accq {

// One spatial axis of a convolution over an input of some size.
struct Axis {
  int64_t out;         // number of outputs; not positive when the window does not fit
  int64_t pad_before;  // padding elements before the first input element
  int64_t extent;      // elements covered by all windows together, padding included
};

// TFLite's rules: SAME gives ceil(size / stride) outputs and puts the odd padding element behind;
// VALID gives the windows that lie inside. A dilated filter covers (filter - 1) * dilation + 1.
Axis AxisOf(int32_t size, int32_t filter, int32_t stride, int32_t dilation, bool same_padding);

// The same layer on one tall image: layers that look at single pixels (1x1, stride 1, hence fully
// connected ones) do not care where a pixel lies, and one long column of them has no short ends.
Shape4 FlattenedPixels(const OpSpec& spec, const Shape4& input);

// Products of one output: filter_h * filter_w * input channels that one output channel sees.
int64_t ProductsPerOutput(const OpSpec& spec);

// Position in spec.weights of a channel's k-th weight, k counted in file order (kh, kw, cin).
size_t WeightIndex(const OpSpec& spec, int64_t channel, int64_t k);

// Multiplies sizes; false when the product leaves size_t or ptrdiff_t.
bool MultiplySizes(uint64_t a, uint64_t b, size_t* product);

}  // namespace accq

#endif  // ACCQ_KERNELS_GEOMETRY_H_
