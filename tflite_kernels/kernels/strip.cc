#include "kernels/strip.h"

#include <algorithm>
#include <cstring>

#include "kernels/break.h"
#include "kernels/buffer.h"

namespace accq {
namespace {

// Strips of about this size stay in the second-level cache while the channel blocks pass over them.
constexpr size_t kStripBytes = 128 * 1024;
constexpr size_t kSlack = 64;

class Filler {
 public:
  Filler(const OpSpec& spec, const StripPlan& plan, MapOperands map, OperandForm form,
         const int8_t* image, uint8_t* to)
      : plan_(plan),
        image_(image),
        to_(to),
        map_(map),
        operand_map_{form, static_cast<int8_t>(spec.in_min), static_cast<int8_t>(spec.in_max)} {
    const int8_t zero = static_cast<int8_t>(kBreakPadding ? 0 : spec.in_zero);
    map_(operand_map_, OperandRuns{&zero, 0, &padding_, 0, 1, 1});
    before_ = std::max<int64_t>(plan.x.pad_before, 0);
    passed_over_ = std::min<int64_t>(std::max<int64_t>(-plan.x.pad_before, 0), plan.input.w);
    const int64_t left = (plan.input.w - passed_over_ + plan.x.step - 1) / plan.x.step;
    columns_ = std::min(plan.x.extent - before_, left);
  }

  // Rows of the image as strips see it, from `first` to one before `last`, which may lie in the
  // padding.
  void Rows(int64_t first, int64_t last) {
    if (RowsAreWhole()) {
      // Rows of single pixels are common, and then one call for all is several times as fast.
      const int64_t top = std::clamp<int64_t>(first, 0, plan_.input.h);
      const int64_t end = std::clamp<int64_t>(last, top, plan_.input.h);
      Padding(std::min(last, top) - first);
      const size_t inside = (end - top) * plan_.row_bytes;
      map_(operand_map_, OperandRuns{image_ + top * plan_.row_bytes, 0, to_, 0, 1, inside});
      to_ += inside;
      Padding(last - std::max(first, end));
    } else {
      for (int64_t y = first; y < last; ++y) Row(y * plan_.y.step);
    }
  }

  void Slack() { std::memset(to_, 0, kSlack); }

 private:
  // Whether the strip holds rows of the image as they lie there.
  bool RowsAreWhole() const {
    return plan_.input.c == static_cast<int64_t>(plan_.pixel_bytes) && plan_.x.step == 1 &&
           plan_.y.step == 1 && before_ == 0 && columns_ == plan_.input.w &&
           columns_ == plan_.x.extent;
  }

  void Padding(int64_t rows) {
    std::memset(to_, padding_, rows * plan_.row_bytes);
    to_ += rows * plan_.row_bytes;
  }

  void Row(int64_t y) {
    if (y < 0 || y >= plan_.input.h) return Padding(1);
    const size_t before = before_ * plan_.pixel_bytes;
    const size_t inside = columns_ * plan_.pixel_bytes;
    std::memset(to_, padding_, before);
    Pixels(image_ + (y * plan_.input.w + passed_over_) * plan_.input.c, to_ + before);
    std::memset(to_ + before + inside, padding_, plan_.row_bytes - before - inside);
    to_ += plan_.row_bytes;
  }

  void Pixels(const int8_t* from, uint8_t* to) const {
    const ptrdiff_t channels = plan_.input.c, pixel_bytes = plan_.pixel_bytes;
    if (channels == pixel_bytes && plan_.x.step == 1) {
      map_(operand_map_, OperandRuns{from, 0, to, 0, 1, static_cast<size_t>(columns_ * channels)});
    } else {
      // Bytes between the channels and the next pixel only meet zero weights: any value will do.
      const auto step = static_cast<ptrdiff_t>(plan_.x.step * channels);
      map_(operand_map_,
           OperandRuns{from, step, to, pixel_bytes, columns_, static_cast<size_t>(channels)});
    }
  }

  const StripPlan& plan_;
  const int8_t* image_;
  uint8_t* to_;
  MapOperands map_;
  OperandMap operand_map_;
  uint8_t padding_;
  int64_t before_;       // columns of padding
  int64_t passed_over_;  // columns of the image before the strip; only without `step`
  int64_t columns_;      // of the image, in the strip
};

void FillPlane(const OpSpec& spec, const StripPlan& plan, MapOperands map, OperandForm form,
               const int8_t* image, int64_t first, int64_t rows, uint8_t* to) {
  if (to == nullptr) return;
  Filler filler(spec, plan, map, form, image, to);
  filler.Rows(first, first + rows);
  filler.Slack();
}

StripAxis StripAxisOf(int32_t size, int32_t filter, int32_t stride, int32_t dilation,
                      bool same_padding) {
  const Axis axis = AxisOf(size, filter, stride, dilation, same_padding);
  if (filter == 1) return {axis.out, 0, axis.out, stride, 1};
  return {axis.out, axis.pad_before, axis.extent, 1, stride};
}

// Rows of the strip under the windows of some output rows.
int64_t StripRows(const OpSpec& spec, const StripPlan& plan, int64_t out_rows) {
  return (out_rows - 1) * plan.y.stride + (int64_t{spec.filter_h} - 1) * spec.dilation_h + 1;
}

}  // namespace

bool PlanStrips(const OpSpec& spec, const Shape4& input, int32_t channel_multiple,
                StripPlan* plan) {
  return PlanStrips(
      spec, input,
      StripAxisOf(input.h, spec.filter_h, spec.stride_h, spec.dilation_h, spec.same_padding),
      StripAxisOf(input.w, spec.filter_w, spec.stride_w, spec.dilation_w, spec.same_padding),
      channel_multiple, plan);
}

bool PlanStrips(const OpSpec& spec, const Shape4& input, const StripAxis& y, const StripAxis& x,
                int32_t channel_multiple, StripPlan* plan) {
  plan->input = input;
  plan->y = y;
  plan->x = x;
  const int64_t multiple = channel_multiple;
  plan->pixel_bytes = (input.c + multiple - 1) / multiple * multiple;
  size_t window_bytes = 0;
  if (!MultiplySizes(plan->pixel_bytes, plan->x.extent, &plan->row_bytes) ||
      !MultiplySizes(plan->row_bytes, StripRows(spec, *plan, 1), &window_bytes) ||
      window_bytes > INT32_MAX) {
    return false;
  }
  // As many rows as fit, at least one, spread evenly over the strips.
  const int64_t room = static_cast<int64_t>(kStripBytes / plan->row_bytes);
  const int64_t most = (room - StripRows(spec, *plan, 1)) / plan->y.stride + 1;
  const int64_t rows = std::clamp<int64_t>(most, 1, plan->y.out);
  const int64_t strips = (plan->y.out + rows - 1) / rows;
  plan->strip_rows = (plan->y.out + strips - 1) / strips;
  const size_t bytes = plan->row_bytes * StripRows(spec, *plan, plan->strip_rows) + kSlack;
  plan->plane_bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return true;
}

void FillStrip(const OpSpec& spec, const StripPlan& plan, MapOperands map, const int8_t* in,
               int64_t n, int64_t out_row, int64_t out_rows, const StripPlanes& planes) {
  const int8_t* image = in + n * plan.input.h * plan.input.w * plan.input.c;
  const int64_t first = out_row * plan.y.stride - plan.y.pad_before;
  const int64_t rows = StripRows(spec, plan, out_rows);
  FillPlane(spec, plan, map, OperandForm::kShifted, image, first, rows, planes.shifted);
  FillPlane(spec, plan, map, OperandForm::kMagnitude, image, first, rows, planes.magnitude);
  FillPlane(spec, plan, map, OperandForm::kValue, image, first, rows, planes.value);
}

}  // namespace accq
