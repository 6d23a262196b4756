// The operator that every kernel implements, free of TFLite: int8 convolution, depthwise and
// transposed convolution and fully-connected layers whose products may be summed in int16.
//
// Contract, for output channel c (byte for byte what LiteRT 2.x gives on its default CPU path):
//   x' = clamp(x, in_min, in_max)                 (padding contributes x' = in_zero)
//   acc = sum over k of x'[k] * q[c][k]           (the true integer)
//   v = fl32(fl32(acc + effective_bias[c]) * multiplier[c])
//   y = clamp(out_zero + round_half_even(v), out_min, out_max)
// where effective_bias = bias - in_zero * sum(q), formed in int64 and known to fit int32, and so
// does acc + effective_bias for every input. reference.cc states it in plain loops.
//
// In a transposed convolution an output meets only the taps of its phase (phases.h), and k runs
// over those, in the sum of q as well. A tap whose input lies outside contributes x' = in_zero.
#ifndef ACCQ_KERNELS_OP_H_
#define ACCQ_KERNELS_OP_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace accq {

enum class OpKind { kConv2D, kDepthwiseConv2D, kFullyConnected, kTransposeConv };

struct Shape4 {
  int32_t n = 1, h = 1, w = 1, c = 1;
};

// Everything about a layer that is fixed once its weights are known. A fully-connected layer is
// a 1x1 convolution over [n, 1, 1, c] tensors with filter, strides and dilation of 1.
struct OpSpec {
  OpKind kind = OpKind::kConv2D;
  int32_t filter_h = 1, filter_w = 1;
  int32_t in_channels = 1;   // of the whole input
  int32_t out_channels = 1;  // of the whole output
  int32_t groups = 1;        // convolution only: in_channels and out_channels are multiples of it
  int32_t depth_multiplier = 1;  // depthwise only: out_channels = in_channels * depth_multiplier
  int32_t stride_h = 1, stride_w = 1;
  int32_t dilation_h = 1, dilation_w = 1;
  bool same_padding = false;  // TFLite SAME, from the input shape; else VALID
  int32_t out_h = 0,
          out_w = 0;  // transposed only: the output's size, which input and filter leave open
  // Convolution, transposed too: [out_channels][filter_h][filter_w][in_channels / groups].
  // Depthwise: [filter_h][filter_w][out_channels]. Fully connected: [out_channels][in_channels].
  const int8_t* weights = nullptr;
  const int32_t* bias = nullptr;  // [out_channels], or null
  std::vector<float> multiplier;  // [out_channels], in (0, 256)
  int32_t in_zero = 0, out_zero = 0;
  // Operand range; contains in_zero if same_padding or transposed.
  int32_t in_min = -128, in_max = 127;
  int32_t out_min = -128, out_max = 127;  // activation limits and output range, intersected
  // Most steps between spills (schedule.h), for measuring what fewer spills are worth: 1 is 32-bit
  // accumulation in the same loops. 0: as many as fit.
  int32_t most_steps = 0;
};

// What was chosen for a layer, for reports.
struct OpReport {
  std::string kernel;       // e.g. "avx2_k4n16"
  int64_t steps = 0;        // int16 multiply-accumulate steps of the inner loop, all channel blocks
  int64_t spills = 0;       // widenings of int16 sums to int32 among them, the last one included
  int64_t extra_steps = 0;  // steps added because a pair of weights had to be split
  int64_t int32_steps = 0;  // steps that multiply in 32 bits, where int16 sums would not pay
  int64_t packed_bytes = 0;
};

// A layer with its weights packed for one kernel. Immutable after creation: Run and RunPart may be
// called from several threads at once, each with its own scratch memory.
class PackedOp {
 public:
  virtual ~PackedOp() = default;
  // Bytes of scratch that Run, or one part of it, needs for this input shape; SIZE_MAX when it
  // would overflow.
  virtual size_t ScratchBytes(const Shape4& input) const = 0;
  // input and output are dense NHWC; output has the shape of OutputShape. scratch holds
  // ScratchBytes(input) bytes, 64-byte aligned. Reads and writes nothing outside the three.
  void Run(const Shape4& input, const int8_t* in, int8_t* out, void* scratch) const {
    RunPart(input, in, out, scratch, 0, 1);
  }
  // Part `part` of `parts` (0 <= part < parts) of the same: the parts write each output once and
  // nothing that another part reads or writes, so they may run at once, in any order, each with
  // scratch of its own. How work is split is the kernel's choice, as long as it depends on nothing
  // but these arguments: whole output rows (ShareOf in share.h) or, where there are few pixels,
  // channel blocks. A part may be empty.
  virtual void RunPart(const Shape4& input, const int8_t* in, int8_t* out, void* scratch, int part,
                       int parts) const = 0;
  virtual OpReport Report() const = 0;
};

// The shape of the output for an input shape; false (and a text) when it is not positive or does
// not fit int32.
bool OutputShape(const OpSpec& spec, const Shape4& input, Shape4* output, std::string* error);

// Checks the numbers of a spec (ranges, multipliers, bias and accumulator in int32 for every
// input); false and a text naming field, channel, value and limit when one is off. `weights` and
// `bias` must hold as many elements as the geometry says: the caller has compared byte sizes.
bool ValidateSpec(const OpSpec& spec, std::string* error);

// One entry of the dispatch table.
struct Kernel {
  const char* name;
  bool (*supported_cpu)();              // can this CPU run it?
  bool (*handles)(const OpSpec& spec);  // does it implement this layer?
  // Null and a text when memory runs out. The spec's arrays are copied.
  std::unique_ptr<PackedOp> (*create)(const OpSpec& spec, std::string* error);
  // Is it expected to beat stock LiteRT's kernel for this layer and input on this CPU, which runs
  // it? Null: never. Only asked about built-in operators, which stock LiteRT would run otherwise.
  bool (*pays)(const OpSpec& spec, const Shape4& input) = nullptr;
};

// All kernels of this build, best first; the reference is last and takes everything.
const std::vector<const Kernel*>& KernelTable();

// The first kernel of the table that this CPU supports and that handles the spec. A non-empty
// `forced` name selects that kernel or fails with a text listing the names.
const Kernel* ChooseKernel(const OpSpec& spec, const std::string& forced, std::string* error);

}  // namespace accq

#endif  // ACCQ_KERNELS_OP_H_
