#include "kernels/schedule.h"

#include <algorithm>
#include <utility>

#include "kernels/break.h"

namespace accq {
namespace {

constexpr int32_t kLimit = kBreakSpill ? 2 * INT16_MAX : INT16_MAX;

// Sums of the positive and negative parts of the weights in each lane. At most one group more than
// fits is ever added, so int32 is ample.
class LaneSums {
 public:
  LaneSums(int32_t a, int32_t b) : a_(a), b_(b) {}

  void Clear() { std::fill_n(positive_, kLanes, 0), std::fill_n(negative_, kLanes, 0); }

  void Add(const Group& group) {
    for (int i = 0; i < 2 * kLanes; ++i) {
      positive_[i / 2] += std::max<int32_t>(group.weights[i], 0);
      negative_[i / 2] -= std::min<int32_t>(group.weights[i], 0);
    }
  }

  bool Fit() const {
    for (int i = 0; i < kLanes; ++i) {
      if (b_ * positive_[i] - a_ * negative_[i] > kLimit ||
          b_ * negative_[i] - a_ * positive_[i] > kLimit) {
        return false;
      }
    }
    return true;
  }

 private:
  int32_t a_, b_;
  int32_t positive_[kLanes] = {}, negative_[kLanes] = {};
};

bool HoldsLeastInt8(const Group& group) {
  return std::find(group.weights, group.weights + 2 * kLanes, INT8_MIN) !=
         group.weights + 2 * kLanes;
}

}  // namespace

bool Schedule::Build(const Group* groups, size_t count, const OpSpec& spec, Form form) {
  Buffer<int32_t> lengths;
  if (!steps_.Allocate(2 * count) || !sources_.Allocate(2 * count) ||
      !lengths.Allocate(2 * count)) {
    return false;
  }
  const bool shifted = form == Form::kShifted;
  const int32_t a = shifted ? 0 : std::min(spec.in_min, 0);
  const int32_t b = shifted ? spec.in_max - spec.in_min : std::max(spec.in_max, 0);
  LaneSums segment(a, b), alone(a, b);
  num_groups_ = count;
  num_steps_ = num_spills_ = 0;
  const auto append = [&](const Group& step, size_t source) {
    LaneSums extended = segment;
    extended.Add(step);
    const bool full =
        num_spills_ > 0 && spec.most_steps > 0 && lengths[num_spills_ - 1] >= spec.most_steps;
    if (num_spills_ == 0 || full || !extended.Fit()) {
      ++num_spills_;
      extended.Clear();
      extended.Add(step);
    }
    segment = extended;
    ++lengths[num_spills_ - 1];
    steps_[num_steps_] = step;
    sources_[num_steps_++] = static_cast<int32_t>(source);
  };
  for (size_t g = 0; g < count; ++g) {
    alone.Clear();
    alone.Add(groups[g]);
    if (alone.Fit() && !(form == Form::kSigned && HoldsLeastInt8(groups[g]))) {
      append(groups[g], g);
      continue;
    }
    Group first, second;
    for (int i = 0; i < 2 * kLanes; ++i) {
      first.weights[i] = static_cast<int8_t>(groups[g].weights[i] / 2);
      second.weights[i] = static_cast<int8_t>(groups[g].weights[i] - first.weights[i]);
    }
    append(first, g);
    append(second, g);
  }
  return SortByLength(lengths);
}

bool Schedule::SortByLength(const Buffer<int32_t>& lengths) {
  // A counting sort: starts[l] is where the steps of the segments of length l go.
  const int32_t longest =
      num_spills_ == 0 ? 0 : *std::max_element(lengths.data(), lengths.data() + num_spills_);
  Buffer<size_t> starts;
  Buffer<Group> steps;
  Buffer<int32_t> sources;
  if (!starts.Allocate(longest + 2) || !steps.Allocate(num_steps_) ||
      !sources.Allocate(num_steps_) ||
      !segments_.Allocate(std::min<size_t>(longest, num_spills_))) {
    return false;
  }
  for (size_t s = 0; s < num_spills_; ++s) starts[lengths[s] + 1] += lengths[s];
  num_kinds_ = 0;
  for (int32_t length = 1; length <= longest; ++length) {
    const auto total = static_cast<int32_t>(starts[length + 1]);
    if (total > 0) segments_[num_kinds_++] = Segments{length, total / length};
    starts[length + 1] += starts[length];
  }
  size_t from = 0;
  for (size_t s = 0; s < num_spills_; ++s) {
    size_t& to = starts[lengths[s]];
    for (int32_t i = 0; i < lengths[s]; ++i, ++from, ++to) {
      steps[to] = steps_[from];
      sources[to] = sources_[from];
    }
  }
  steps_ = std::move(steps);
  sources_ = std::move(sources);
  return true;
}

}  // namespace accq
