#include "kernels/schedule.h"

#include <algorithm>
#include <utility>

#include "kernels/break.h"

namespace accq {
namespace {

constexpr int32_t kLimit = kBreakSpill ? INT16_MAX + 1 : INT16_MAX;

// Steps that are put in order together: as many as give almost what all together would, in time
// that grows with the weights and not with their square.
constexpr size_t kChunk = 128;

// What weights add to the bounds of each lane: rule 2's b * P - a * N, then b * N - a * P.
struct Loads {
  uint16_t of[2 * kLanes];

  uint16_t Most() const { return *std::max_element(of, of + 2 * kLanes); }
};

class Bounds {
 public:
  Bounds(const OpSpec& spec, Form form)
      : a_(form == Form::kShifted ? 0 : std::min(spec.in_min, 0)),
        b_(form == Form::kShifted ? spec.in_max - spec.in_min : std::max(spec.in_max, 0)) {}

  // A pair of weights adds at most 255 * 256, which uint16 holds.
  Loads LoadsOf(const Group& group) const {
    Loads loads;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t u = group.weights[2 * lane], v = group.weights[2 * lane + 1];
      const int32_t positive = std::max(u, 0) + std::max(v, 0);
      const int32_t negative = positive - u - v;
      loads.of[lane] = static_cast<uint16_t>(b_ * positive - a_ * negative);
      loads.of[kLanes + lane] = static_cast<uint16_t>(b_ * negative - a_ * positive);
    }
    return loads;
  }

 private:
  int32_t a_, b_;
};

// A segment that may take more steps, and what its lanes have left.
class OpenSegment {
 public:
  void Clear() { std::fill_n(left_.of, 2 * kLanes, static_cast<uint16_t>(kLimit)); }

  bool Fits(const Loads& loads) const {
    for (int half = 0; half < 2; ++half) {  // the first one tells most of the time
      bool fits = true;
      for (int i = half * kLanes; i < (half + 1) * kLanes; ++i) fits &= loads.of[i] <= left_.of[i];
      if (!fits) return false;
    }
    return true;
  }

  void Add(const Loads& loads) {
    for (int i = 0; i < 2 * kLanes; ++i) left_.of[i] -= loads.of[i];
  }

 private:
  Loads left_;
};

bool HoldsLeastInt8(const Group& group) {
  return std::find(group.weights, group.weights + 2 * kLanes, INT8_MIN) !=
         group.weights + 2 * kLanes;
}

}  // namespace

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
  return Pack(spec, form, &packing) && SortByLength(packing);
}

void Schedule::Split(const Group* groups, const OpSpec& spec, Form form) {
  const Bounds bounds(spec, form);
  const auto append = [&](const Group& step, size_t source) {
    steps_[num_steps_] = step;
    sources_[num_steps_++] = static_cast<int32_t>(source);
  };
  for (size_t g = 0; g < num_groups_; ++g) {
    if (bounds.LoadsOf(groups[g]).Most() <= kLimit &&
        !(form == Form::kSigned && HoldsLeastInt8(groups[g]))) {
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
}

bool Schedule::Pack(const OpSpec& spec, Form form, Packing* packing) {
  const Bounds bounds(spec, form);
  const size_t chunk = std::min(num_steps_, kChunk);
  Buffer<Loads> loads;
  Buffer<OpenSegment> open;
  if (!loads.Allocate(chunk) || !open.Allocate(chunk) || !packing->order.Allocate(num_steps_) ||
      !packing->segment.Allocate(num_steps_) || !packing->lengths.Allocate(num_steps_)) {
    return false;
  }
  for (size_t first = 0; first < num_steps_; first += chunk) {
    const size_t steps = std::min(chunk, num_steps_ - first);
    size_t* const order = packing->order.data() + first;
    uint16_t most[kChunk];
    for (size_t i = 0; i < steps; ++i) {
      loads[i] = bounds.LoadsOf(steps_[first + i]);
      most[i] = loads[i].Most();
      order[i] = i;
    }
    std::sort(order, order + steps,
              [&](size_t i, size_t j) { return most[i] != most[j] ? most[i] > most[j] : i < j; });
    int32_t* const lengths = packing->lengths.data() + num_spills_;
    size_t segments = 0;
    for (size_t i = 0; i < steps; ++i) {
      const Loads& step = loads[order[i]];
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
