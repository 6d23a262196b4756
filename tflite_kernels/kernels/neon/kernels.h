#ifndef ACCQ_KERNELS_NEON_KERNELS_H_
#define ACCQ_KERNELS_NEON_KERNELS_H_

#include "kernels/op.h"

namespace accq {

extern const Kernel kNeonDot8;       // convolution, transposed too, and fully connected layers
extern const Kernel kNeonDepthwise;  // depthwise convolution, multiplier 1

// Kernel::pays of convolutions in narrow lanes.
bool NeonConvPays(const OpSpec& spec, const Shape4& input);

}  // namespace accq

#endif  // ACCQ_KERNELS_NEON_KERNELS_H_
