// Transposed convolution as stride-1 convolutions. Along one axis, with `cut` elements cut off
// before the first output,
//
//   y[o] = sum of w[a] * x[(o + cut - a) / stride]   over the taps a with (o + cut - a) % stride ==
//   0
//
// so outputs of one phase, (o + cut) % stride, meet every stride-th tap, and neighbours among them
// meet neighbouring inputs: each phase is a convolution of stride 1 with its own taps, flipped.
#ifndef ACCQ_KERNELS_PHASES_H_
#define ACCQ_KERNELS_PHASES_H_

#include <cstdint>
#include <string>

#include "kernels/buffer.h"
#include "kernels/op.h"

namespace accq {

// One spatial axis of a transposed convolution.
struct TransposedAxis {
  int64_t size, filter, stride, out;
  int64_t cut;  // elements that SAME padding cuts off before the first output
};

// The height and width of a transposed convolution over an input. False and a text where the
// convolution that it is the transpose of would not make `input` of an output of that size.
bool TransposedAxes(const OpSpec& spec, const Shape4& input, TransposedAxis* y, TransposedAxis* x,
                    std::string* error);

// Taps of a filter that belong to a phase below `filter` and `stride`.
inline int32_t TapsOfPhase(int32_t filter, int32_t stride, int32_t phase) {
  return (filter - 1 - phase) / stride + 1;
}

// Phases of an axis that have any taps; outputs of the others have no products.
inline int32_t CountPhases(int32_t filter, int32_t stride) {
  return filter < stride ? filter : stride;
}

// The convolution that a phase is, along one axis.
struct PhaseAxis {
  int64_t first_out;   // of the whole output; the next ones lie a stride apart
  int64_t out;         // how many there are, perhaps none
  int64_t pad_before;  // missing inputs before the first one; negative: inputs that it passes over
};

PhaseAxis PhaseAxisOf(const TransposedAxis& axis, int32_t phase);

// The convolution of a phase over the input as it is, with its weights in file order in `weights`,
// which it points to. False when memory runs out.
[[nodiscard]] bool PhaseSpec(const OpSpec& spec, int32_t phase_h, int32_t phase_w,
                             Buffer<int8_t>* weights, OpSpec* phase);

}  // namespace accq

#endif  // ACCQ_KERNELS_PHASES_H_
