#include "kernels/avx2/strip.h"

#include <algorithm>
#include <cstring>

#include "kernels/break.h"
#include "kernels/buffer.h"

namespace accq {
namespace {

// Strips of about this size stay in the second-level cache while the channel blocks pass over them.
constexpr size_t kStripBytes = 128 * 1024;
constexpr size_t kSlack = 64;

// Maps of an operand to the byte that is multiplied. int8 arithmetic throughout, so that the
// compiler's vectors hold 32 of them.
struct Clamp {
  int8_t low, high;
  int8_t operator()(int8_t x) const {
    if (kBreakClamp) return x;
    return x < low ? low : x > high ? high : x;
  }
};
struct Shifted : Clamp {
  uint8_t operator()(int8_t x) const { return static_cast<uint8_t>(Clamp::operator()(x) - low); }
};
struct Value : Clamp {
  uint8_t operator()(int8_t x) const { return static_cast<uint8_t>(Clamp::operator()(x)); }
};
struct Magnitude : Clamp {
  uint8_t operator()(int8_t x) const {
    const int8_t clamped = Clamp::operator()(x);
    return static_cast<uint8_t>(clamped < 0 ? -clamped : clamped);
  }
};

template <typename Map>
class Filler {
 public:
  Filler(const OpSpec& spec, const StripPlan& plan, const int8_t* image, uint8_t* to)
      : plan_(plan), image_(image), to_(to) {
    map_.low = static_cast<int8_t>(spec.in_min);
    map_.high = static_cast<int8_t>(spec.in_max);
    padding_ = map_(static_cast<int8_t>(kBreakPadding ? 0 : spec.in_zero));
    left_ = plan.x.pad_before;
    columns_ = std::clamp<int64_t>(plan.x.extent - left_, 0, plan.input.w);
  }

  // Input row `y`, which may lie in the padding.
  void Row(int64_t y) {
    if (y < 0 || y >= plan_.input.h) {
      std::memset(to_, padding_, plan_.row_bytes);
    } else {
      const int8_t* from = image_ + y * plan_.input.w * plan_.input.c;
      const size_t before = left_ * plan_.pixel_bytes;
      const size_t inside = columns_ * plan_.pixel_bytes;
      std::memset(to_, padding_, before);
      Pixels(from, to_ + before);
      std::memset(to_ + before + inside, padding_, plan_.row_bytes - before - inside);
    }
    to_ += plan_.row_bytes;
  }

  void Slack() { std::memset(to_, 0, kSlack); }

 private:
  void Pixels(const int8_t* from, uint8_t* to) const {
    const size_t channels = plan_.input.c;
    if (channels == plan_.pixel_bytes) return Copy(from, columns_ * channels, to);
    for (int64_t i = 0; i < columns_; ++i) {
      Copy(from + i * channels, channels, to + i * plan_.pixel_bytes);
      std::memset(to + i * plan_.pixel_bytes + channels, 0, plan_.pixel_bytes - channels);
    }
  }

  void Copy(const int8_t* from, size_t count, uint8_t* to) const {
    const Map map = map_;
    for (size_t i = 0; i < count; ++i) to[i] = map(from[i]);
  }

  const StripPlan& plan_;
  const int8_t* image_;
  uint8_t* to_;
  Map map_;
  uint8_t padding_;
  int64_t left_, columns_;
};

template <typename Map>
void FillPlane(const OpSpec& spec, const StripPlan& plan, const int8_t* image, int64_t first,
               int64_t rows, uint8_t* to) {
  if (to == nullptr) return;
  Filler<Map> filler(spec, plan, image, to);
  for (int64_t y = first; y < first + rows; ++y) filler.Row(y);
  filler.Slack();
}

int64_t InputRows(const OpSpec& spec, int64_t out_rows) {
  return (out_rows - 1) * spec.stride_h + (int64_t{spec.filter_h} - 1) * spec.dilation_h + 1;
}

}  // namespace

bool PlanStrips(const OpSpec& spec, const Shape4& input, int32_t channel_multiple,
                StripPlan* plan) {
  plan->input = input;
  plan->y = AxisOf(input.h, spec.filter_h, spec.stride_h, spec.dilation_h, spec.same_padding);
  plan->x = AxisOf(input.w, spec.filter_w, spec.stride_w, spec.dilation_w, spec.same_padding);
  const int64_t multiple = channel_multiple;
  plan->pixel_bytes = (input.c + multiple - 1) / multiple * multiple;
  size_t window_bytes = 0;
  if (!MultiplySizes(plan->pixel_bytes, plan->x.extent, &plan->row_bytes) ||
      !MultiplySizes(plan->row_bytes, InputRows(spec, 1), &window_bytes) ||
      window_bytes > INT32_MAX) {
    return false;
  }
  // As many rows as fit, at least one, spread evenly over the strips.
  const int64_t room = static_cast<int64_t>(kStripBytes / plan->row_bytes);
  const int64_t most = (room - InputRows(spec, 1)) / spec.stride_h + 1;
  const int64_t rows = std::clamp<int64_t>(most, 1, plan->y.out);
  const int64_t strips = (plan->y.out + rows - 1) / rows;
  plan->strip_rows = (plan->y.out + strips - 1) / strips;
  const size_t bytes = plan->row_bytes * InputRows(spec, plan->strip_rows) + kSlack;
  plan->plane_bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return true;
}

void FillStrip(const OpSpec& spec, const StripPlan& plan, const int8_t* in, int64_t n,
               int64_t out_row, int64_t out_rows, const StripPlanes& planes) {
  const int8_t* image = in + n * plan.input.h * plan.input.w * plan.input.c;
  const int64_t first = out_row * spec.stride_h - plan.y.pad_before;
  const int64_t rows = InputRows(spec, out_rows);
  FillPlane<Shifted>(spec, plan, image, first, rows, planes.shifted);
  FillPlane<Magnitude>(spec, plan, image, first, rows, planes.magnitude);
  FillPlane<Value>(spec, plan, image, first, rows, planes.value);
}

}  // namespace accq
