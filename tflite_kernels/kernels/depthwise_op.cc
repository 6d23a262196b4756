#include "kernels/depthwise_op.h"

#include <algorithm>
#include <new>

#include "kernels/buffer.h"
#include "kernels/create.h"
#include "kernels/depthwise_layout.h"
#include "kernels/geometry.h"
#include "kernels/output_range.h"
#include "kernels/requantize.h"
#include "kernels/share.h"
#include "kernels/strip.h"

namespace accq {
namespace {

// Bytes of a pixel are a multiple of the narrowest block's channels. A vector may reach into the
// next pixel: what it finds there meets zero weights.
constexpr int kPixelMultiple = 8;

struct Block {
  int32_t first_channel, channels;
  int32_t pixels;  // side by side in a vector
  Schedule schedule;
  Buffer<Group> steps;     // the schedule's in the order of the loops; empty when int32 is cheaper
  Buffer<WideGroup> wide;  // for products in int32; else empty
  size_t first_step = 0;   // counted over all blocks
  alignas(kAlignment) int32_t bias[kLanes] = {};
  alignas(kAlignment) float multiplier[kLanes] = {};

  bool Init(const OpSpec& spec, const DepthwiseLoops& loops, int32_t first);
  size_t num_steps() const { return steps.size() + wide.size(); }
  int32_t group_of_step(size_t s) const {
    return wide.size() > 0 ? static_cast<int32_t>(s) : schedule.group_of_step(s);
  }

 private:
  bool PackInt16(const DepthwiseLoops& loops);
  bool PackInt32(const DepthwiseLoops& loops, const Buffer<Group>& groups);
  // The block's channel that is worked on in the place of channel `i` of 32.
  int Source(int i) const { return i % (kLanes / pixels); }
};

bool Block::Init(const OpSpec& spec, const DepthwiseLoops& loops, int32_t first) {
  first_channel = first;
  channels = std::min(kLanes, spec.out_channels - first);
  pixels = loops.stored ? 1 : channels <= kLanes / 4 ? 4 : channels <= kLanes / 2 ? 2 : 1;
  Buffer<Group> groups;
  if (!DepthwiseGroups(spec, first, &groups) ||
      !schedule.Build(groups.data(), groups.size(), spec,
                      loops.stored ? Form::kStored : Form::kShifted)) {
    return false;
  }
  for (int i = 0; i < kLanes; ++i) {
    if (Source(i) >= channels) continue;
    const int32_t channel = first + Source(i);
    // sum x' q = sum u q + in_min * sum q; validated as the sum of the input that is all in_min.
    const int64_t shift = loops.stored ? 0 : spec.in_min * SumOfWeights(spec, channel);
    bias[loops.sum(i)] = static_cast<int32_t>(EffectiveBias(spec, channel) + shift);
    multiplier[loops.sum(i)] = spec.multiplier[channel];
  }
  const bool int16 = loops.stored || Int16Pays(schedule, groups.size());
  return int16 ? PackInt16(loops) : PackInt32(loops, groups);
}

bool Block::PackInt16(const DepthwiseLoops& loops) {
  if (!steps.Allocate(schedule.steps())) return false;
  for (size_t s = 0; s < steps.size(); ++s) {
    for (int i = 0; i < kLanes; ++i) {
      for (int tap = 0; tap < 2; ++tap) {
        steps[s].weights[loops.weight(i, tap)] = schedule.packed()[s].weights[2 * Source(i) + tap];
      }
    }
  }
  return true;
}

bool Block::PackInt32(const DepthwiseLoops& loops, const Buffer<Group>& groups) {
  if (!wide.Allocate(groups.size())) return false;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (int i = 0; i < kLanes; ++i) {
      std::copy_n(groups[g].weights + 2 * Source(i), 2, wide[g].weights + 2 * loops.sum(i));
    }
  }
  return true;
}

class DepthwiseOp : public PackedOp {
 public:
  bool Init(const OpSpec& spec, const DepthwiseLoops& loops) {
    spec_ = spec;
    loops_ = &loops;
    num_blocks_ = (static_cast<size_t>(spec.out_channels) + kLanes - 1) / kLanes;
    blocks_.reset(new (std::nothrow) Block[num_blocks_]);
    if (blocks_ == nullptr) return false;
    for (size_t b = 0; b < num_blocks_; ++b) {
      if (!blocks_[b].Init(spec, loops, static_cast<int32_t>(b * kLanes))) return false;
      blocks_[b].first_step = num_steps_;
      num_steps_ += blocks_[b].num_steps();
    }
    spec_.weights = nullptr;  // the caller's; packed now
    spec_.bias = nullptr;
    return true;
  }

  size_t ScratchBytes(const Shape4& input) const override {
    StripPlan plan;
    size_t bytes;
    const bool fits =
        PlanStrips(spec_, input, kPixelMultiple, &plan) &&
        !__builtin_add_overflow(plan.plane_bytes, num_steps_ * sizeof(TapOffsets), &bytes);
    return fits ? bytes : SIZE_MAX;
  }

  void RunPart(const Shape4& input, const int8_t* in, int8_t* out, void* scratch, int part,
               int parts) const override;
  OpReport Report() const override;

 private:
  void FillOffsets(const StripPlan& plan, TapOffsets* offsets) const;
  void RunRow(const StripPlan& plan, const uint8_t* window, const TapOffsets* offsets,
              int8_t* out) const;

  OpSpec spec_;
  const DepthwiseLoops* loops_ = nullptr;
  std::unique_ptr<Block[]> blocks_;
  size_t num_blocks_ = 0, num_steps_ = 0;
};

void DepthwiseOp::FillOffsets(const StripPlan& plan, TapOffsets* offsets) const {
  const int64_t last_tap = DepthwiseTaps(spec_) - 1;
  const auto offset = [&](int64_t tap) {
    tap = std::min(tap, last_tap);  // the partner of an odd last tap has no weight
    return static_cast<int32_t>(tap / spec_.filter_w * spec_.dilation_h * plan.row_bytes +
                                tap % spec_.filter_w * spec_.dilation_w * plan.pixel_bytes);
  };
  for (size_t b = 0; b < num_blocks_; ++b) {
    for (size_t s = 0; s < blocks_[b].num_steps(); ++s) {
      const int64_t tap = int64_t{2} * blocks_[b].group_of_step(s);
      *offsets++ = TapOffsets{offset(tap), offset(tap + 1)};
    }
  }
}

void DepthwiseOp::RunPart(const Shape4& input, const int8_t* in, int8_t* out, void* scratch,
                          int part, int parts) const {
  StripPlan plan;
  if (!PlanStrips(spec_, input, kPixelMultiple, &plan)) return;  // ScratchBytes said so
  auto* const plane = static_cast<uint8_t*>(scratch);
  StripPlanes planes;
  (loops_->stored ? planes.value : planes.shifted) = plane;
  auto* offsets = reinterpret_cast<TapOffsets*>(plane + plan.plane_bytes);
  FillOffsets(plan, offsets);
  const Share rows = ShareOf(plan.input.n * plan.y.out, part, parts);
  out += rows.first * plan.x.out * spec_.out_channels;
  for (int64_t done = rows.first; done < rows.last;) {
    const int64_t n = done / plan.y.out, row = done % plan.y.out;
    const int64_t count = std::min({plan.strip_rows, plan.y.out - row, rows.last - done});
    FillStrip(spec_, plan, loops_->map, in, n, row, count, planes);
    for (int64_t r = 0; r < count; ++r) {
      RunRow(plan, plane + r * plan.y.stride * plan.row_bytes, offsets, out);
      out += plan.x.out * spec_.out_channels;
    }
    done += count;
  }
}

void DepthwiseOp::RunRow(const StripPlan& plan, const uint8_t* window, const TapOffsets* offsets,
                         int8_t* out) const {
  for (size_t b = 0; b < num_blocks_; ++b) {
    const Block& block = blocks_[b];
    const bool int16 = block.steps.size() > 0;
    const DepthwiseBlock packed = {
        int16 ? block.steps.data() : nullptr,
        block.schedule.segments(),
        block.schedule.segment_kinds(),
        block.wide.data(),
        block.wide.size(),
        offsets + block.first_step,
        block.bias,
        block.multiplier,
        block.channels,
        block.pixels,
    };
    loops_->run_row(packed,
                    DepthwiseRow{window + block.first_channel,
                                 static_cast<ptrdiff_t>(plan.x.stride * plan.pixel_bytes),
                                 plan.x.out, out + block.first_channel, spec_.out_channels},
                    OutputRangeOf(spec_));
  }
}

OpReport DepthwiseOp::Report() const {
  OpReport report;
  report.kernel = loops_->kernel;
  for (size_t b = 0; b < num_blocks_; ++b) {
    const Block& block = blocks_[b];
    report.packed_bytes += block.steps.bytes() + block.wide.bytes();
    report.int32_steps += block.wide.size();
    if (block.steps.size() == 0) continue;
    report.steps += block.schedule.steps();
    report.spills += block.schedule.spills();
    report.extra_steps += block.schedule.extra_steps();
  }
  return report;
}

}  // namespace

std::unique_ptr<PackedOp> CreateDepthwise(const OpSpec& spec, const DepthwiseLoops& loops,
                                          std::string* error) {
  return CreateOp<DepthwiseOp>(spec, error, loops);
}

}  // namespace accq
