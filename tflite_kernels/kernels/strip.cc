#include "kernels/strip.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/break.h"
#include "kernels/buffer.h"

namespace accq {
namespace {

// Strips of about this size stay in the second-level cache while the channel blocks pass over them.
constexpr size_t kStripBytes = 128 * 1024;
constexpr size_t kSlack = 64;

// Maps operands to the bytes that are multiplied.
class Clamp {
 public:
  explicit Clamp(const OpSpec& spec)
      : low_(_mm256_set1_epi8(static_cast<int8_t>(spec.in_min))),
        high_(_mm256_set1_epi8(static_cast<int8_t>(spec.in_max))) {}

 protected:
  __m256i Clamped(__m256i x) const {
    return kBreakClamp ? x : _mm256_min_epi8(_mm256_max_epi8(x, low_), high_);
  }
  __m256i low_, high_;
};
struct Shifted : Clamp {
  using Clamp::Clamp;
  __m256i operator()(__m256i x) const { return _mm256_sub_epi8(Clamped(x), low_); }
};
struct Value : Clamp {
  using Clamp::Clamp;
  __m256i operator()(__m256i x) const { return Clamped(x); }
};
struct Magnitude : Clamp {
  using Clamp::Clamp;
  __m256i operator()(__m256i x) const { return _mm256_abs_epi8(Clamped(x)); }
};

// Maps `count` operands and touches no byte beyond them.
template <typename Map>
void MapBytes(const Map& map, const int8_t* from, size_t count, uint8_t* to) {
  for (; count >= 32; count -= 32, from += 32, to += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), map(x));
  }
  if (count >= 16) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_castsi256_si128(map(_mm256_castsi128_si256(x))));
    count -= 16, from += 16, to += 16;
  }
  if (count >= 8) {
    const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to),
                     _mm256_castsi256_si128(map(_mm256_castsi128_si256(x))));
    count -= 8, from += 8, to += 8;
  }
  for (; count > 0; --count) {
    *to++ = static_cast<uint8_t>(_mm256_extract_epi8(map(_mm256_set1_epi8(*from++)), 0));
  }
}

template <typename Map>
class Filler {
 public:
  Filler(const OpSpec& spec, const StripPlan& plan, const int8_t* image, uint8_t* to)
      : plan_(plan), image_(image), to_(to), map_(spec) {
    const int8_t zero = static_cast<int8_t>(kBreakPadding ? 0 : spec.in_zero);
    MapBytes(map_, &zero, 1, &padding_);
    before_ = std::max<int64_t>(plan.x.pad_before, 0);
    passed_over_ = std::min<int64_t>(std::max<int64_t>(-plan.x.pad_before, 0), plan.input.w);
    const int64_t left = (plan.input.w - passed_over_ + plan.x.step - 1) / plan.x.step;
    columns_ = std::min(plan.x.extent - before_, left);
  }

  // Row `y` of the image as strips see it, which may lie in the padding.
  void Row(int64_t y) {
    y *= plan_.y.step;
    if (y < 0 || y >= plan_.input.h) {
      std::memset(to_, padding_, plan_.row_bytes);
    } else {
      const size_t before = before_ * plan_.pixel_bytes;
      const size_t inside = columns_ * plan_.pixel_bytes;
      std::memset(to_, padding_, before);
      Pixels(image_ + (y * plan_.input.w + passed_over_) * plan_.input.c, to_ + before);
      std::memset(to_ + before + inside, padding_, plan_.row_bytes - before - inside);
    }
    to_ += plan_.row_bytes;
  }

  void Slack() { std::memset(to_, 0, kSlack); }

 private:
  void Pixels(const int8_t* from, uint8_t* to) const {
    const size_t channels = plan_.input.c;
    if (channels == plan_.pixel_bytes && plan_.x.step == 1) {
      return MapBytes(map_, from, columns_ * channels, to);
    }
    // Bytes between the channels and the next pixel only meet zero weights: any value will do.
    for (int64_t i = 0; i < columns_; ++i) {
      MapBytes(map_, from, channels, to);
      from += plan_.x.step * channels;
      to += plan_.pixel_bytes;
    }
  }

  const StripPlan& plan_;
  const int8_t* image_;
  uint8_t* to_;
  Map map_;
  uint8_t padding_;
  int64_t before_;       // columns of padding
  int64_t passed_over_;  // columns of the image before the strip; only without `step`
  int64_t columns_;      // of the image, in the strip
};

template <typename Map>
void FillPlane(const OpSpec& spec, const StripPlan& plan, const int8_t* image, int64_t first,
               int64_t rows, uint8_t* to) {
  if (to == nullptr) return;
  Filler<Map> filler(spec, plan, image, to);
  for (int64_t y = first; y < first + rows; ++y) filler.Row(y);
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

void FillStrip(const OpSpec& spec, const StripPlan& plan, const int8_t* in, int64_t n,
               int64_t out_row, int64_t out_rows, const StripPlanes& planes) {
  const int8_t* image = in + n * plan.input.h * plan.input.w * plan.input.c;
  const int64_t first = out_row * plan.y.stride - plan.y.pad_before;
  const int64_t rows = StripRows(spec, plan, out_rows);
  FillPlane<Shifted>(spec, plan, image, first, rows, planes.shifted);
  FillPlane<Magnitude>(spec, plan, image, first, rows, planes.magnitude);
  FillPlane<Value>(spec, plan, image, first, rows, planes.value);
}

}  // namespace accq
