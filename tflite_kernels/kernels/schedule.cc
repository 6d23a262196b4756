#include "kernels/schedule.h"

#include <algorithm>
#include <utility>

#include "kernels/break.h"
#include "kernels/geometry.h"

namespace accq {
namespace {

constexpr int kWeights = 2 * kLanes;  // of a group

// The greatest magnitude of a sum in one of `count` lanes.
constexpr int32_t LimitOf(int count) {
  return (count == kLanes ? INT16_MAX : INT8_MAX) + (kBreakSpill ? 1 : 0);
}

// Steps that are put in order together: as many as give almost what all together would, in time
// that grows with the weights and not with their square.
constexpr size_t kChunk = 128;

// What weights add to the bounds of each of kCount lanes: rule 2's b * P - a * N, then b * N -
// a * P.
template <int kCount>
struct Loads {
  uint16_t of[2 * kCount];

  uint16_t Most() const { return *std::max_element(of, of + 2 * kCount); }
};

class Bounds {
 public:
  Bounds(const OpSpec& spec, Form form)
      : a_(form == Form::kShifted ? 0 : std::min(spec.in_min, 0)),
        b_(form == Form::kShifted ? spec.in_max - spec.in_min : std::max(spec.in_max, 0)) {}

  // A pair of weights adds at most 255 * 256, which uint16 holds.
  template <int kCount>
  Loads<kCount> LoadsOf(const Group& group) const {
    constexpr int kEach = kWeights / kCount;
    Loads<kCount> loads;
    for (int lane = 0; lane < kCount; ++lane) {
      int32_t positive = 0, negative = 0;
      for (int i = 0; i < kEach; ++i) {
        const int32_t w = group.weights[kEach * lane + i];
        positive += std::max(w, 0);
        negative -= std::min(w, 0);
      }
      loads.of[lane] = static_cast<uint16_t>(OfHigh(positive, negative));
      loads.of[kCount + lane] = static_cast<uint16_t>(OfHigh(negative, positive));
    }
    return loads;
  }

  // b * P - a * N; with the two exchanged, the other bound.
  template <typename Integer>
  Integer OfHigh(Integer positive, Integer negative) const {
    return b_ * positive - a_ * negative;
  }

 private:
  int32_t a_, b_;
};

// A segment that may take more steps, and what its lanes have left.
template <int kCount>
class OpenSegment {
 public:
  void Clear() { std::fill_n(left_.of, 2 * kCount, static_cast<uint16_t>(LimitOf(kCount))); }

  bool Fits(const Loads<kCount>& loads) const {
    for (int half = 0; half < 2; ++half) {  // the first one tells most of the time
      bool fits = true;
      for (int i = half * kCount; i < (half + 1) * kCount; ++i) fits &= loads.of[i] <= left_.of[i];
      if (!fits) return false;
    }
    return true;
  }

  void Add(const Loads<kCount>& loads) {
    for (int i = 0; i < 2 * kCount; ++i) left_.of[i] -= loads.of[i];
  }

 private:
  Loads<kCount> left_;
};

bool HoldsLeastInt8(const Group& group) {
  return std::find(group.weights, group.weights + kWeights, INT8_MIN) != group.weights + kWeights;
}

}  // namespace

bool FitsBytes(const OpSpec& spec) {
  if (spec.weights == nullptr) return false;
  const Bounds bounds(spec, Form::kBytes);
  const int64_t products = ProductsPerOutput(spec);
  for (int32_t c = 0; c < spec.out_channels; ++c) {
    int64_t positive = 0, negative = 0;
    for (int64_t k = 0; k < products; ++k) {
      const int32_t w = spec.weights[WeightIndex(spec, c, k)];
      const int32_t up = std::max(w, 0), down = std::max(-w, 0);
      if (2 * std::max(bounds.OfHigh(up, down), bounds.OfHigh(down, up)) > INT8_MAX) return false;
      positive += up;
      negative += down;
    }
    if (std::max(bounds.OfHigh(positive, negative), bounds.OfHigh(negative, positive)) >
        INT16_MAX) {
      return false;
    }
  }
  return true;
}

// Where packing puts the steps: `order`, and the segment of each in that order.
struct Schedule::Packing {
  Buffer<size_t> order;
  Buffer<int32_t> segment;
  Buffer<int32_t> lengths;  // of segments
};

bool Schedule::Build(const Group* groups, size_t count, const OpSpec& spec, Form form) {
  if (!steps_.Allocate(2 * count) || !sources_.Allocate(2 * count)) return false;
  num_groups_ = count;
  num_steps_ = num_spills_ = 0;
  Split(groups, spec, form);
  Packing packing;
  const bool packed = form == Form::kBytes ? Pack<kWeights>(spec, form, &packing)
                                           : Pack<kLanes>(spec, form, &packing);
  return packed && SortByLength(packing);
}

void Schedule::Split(const Group* groups, const OpSpec& spec, Form form) {
  const Bounds bounds(spec, form);
  const auto append = [&](const Group& step, size_t source) {
    steps_[num_steps_] = step;
    sources_[num_steps_++] = static_cast<int32_t>(source);
  };
  for (size_t g = 0; g < num_groups_; ++g) {
    if (form == Form::kBytes || (bounds.LoadsOf<kLanes>(groups[g]).Most() <= LimitOf(kLanes) &&
                                 !(form == Form::kSigned && HoldsLeastInt8(groups[g])))) {
      append(groups[g], g);
      continue;
    }
    Group first, second;
    for (int i = 0; i < kWeights; ++i) {
      first.weights[i] = static_cast<int8_t>(groups[g].weights[i] / 2);
      second.weights[i] = static_cast<int8_t>(groups[g].weights[i] - first.weights[i]);
    }
    append(first, g);
    append(second, g);
  }
}

template <int kCount>
bool Schedule::Pack(const OpSpec& spec, Form form, Packing* packing) {
  const Bounds bounds(spec, form);
  const size_t chunk = std::min(num_steps_, kChunk);
  Buffer<Loads<kCount>> loads;
  Buffer<OpenSegment<kCount>> open;
  if (!loads.Allocate(chunk) || !open.Allocate(chunk) || !packing->order.Allocate(num_steps_) ||
      !packing->segment.Allocate(num_steps_) || !packing->lengths.Allocate(num_steps_)) {
    return false;
  }
  for (size_t first = 0; first < num_steps_; first += chunk) {
    const size_t steps = std::min(chunk, num_steps_ - first);
    size_t* const order = packing->order.data() + first;
    uint16_t most[kChunk];
    for (size_t i = 0; i < steps; ++i) {
      loads[i] = bounds.LoadsOf<kCount>(steps_[first + i]);
      most[i] = loads[i].Most();
      order[i] = i;
    }
    std::sort(order, order + steps,
              [&](size_t i, size_t j) { return most[i] != most[j] ? most[i] > most[j] : i < j; });
    int32_t* const lengths = packing->lengths.data() + num_spills_;
    size_t segments = 0;
    for (size_t i = 0; i < steps; ++i) {
      const Loads<kCount>& step = loads[order[i]];
      size_t s = 0;
      while (s < segments &&
             ((spec.most_steps > 0 && lengths[s] >= spec.most_steps) || !open[s].Fits(step))) {
        ++s;
      }
      if (s == segments) open[segments++].Clear();
      open[s].Add(step);
      ++lengths[s];
      packing->segment[first + i] = static_cast<int32_t>(num_spills_ + s);
      order[i] += first;
    }
    num_spills_ += segments;
  }
  return true;
}

bool Schedule::SortByLength(const Packing& packing) {
  const Buffer<int32_t>& lengths = packing.lengths;
  // A counting sort: starts[l] is where the steps of the segments of length l go.
  const int32_t longest =
      num_spills_ == 0 ? 0 : *std::max_element(lengths.data(), lengths.data() + num_spills_);
  Buffer<size_t> starts, next;  // of lengths; of segments
  Buffer<Group> steps;
  Buffer<int32_t> sources;
  if (!starts.Allocate(longest + 2) || !next.Allocate(num_spills_) || !steps.Allocate(num_steps_) ||
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
  for (size_t s = 0; s < num_spills_; ++s) {
    next[s] = starts[lengths[s]];
    starts[lengths[s]] += lengths[s];
  }
  for (size_t i = 0; i < num_steps_; ++i) {
    const size_t to = next[packing.segment[i]]++;
    steps[to] = steps_[packing.order[i]];
    sources[to] = sources_[kBreakOrder ? to : packing.order[i]];
  }
  steps_ = std::move(steps);
  sources_ = std::move(sources);
  return true;
}

}  // namespace accq
