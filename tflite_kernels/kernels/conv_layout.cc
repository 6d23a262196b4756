#include "kernels/conv_layout.h"

#include <algorithm>
#include <utility>

#include "kernels/geometry.h"

namespace accq {
namespace {

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

size_t BlocksPerGroup(const OpSpec& spec, int32_t most) {
  return CeilDiv(spec.out_channels / spec.groups, most);
}

}  // namespace

size_t CountConvBlocks(const OpSpec& spec, int32_t most) {
  return BlocksPerGroup(spec, most) * spec.groups;
}

ConvChannels ChannelsOfBlock(const OpSpec& spec, size_t block, int32_t most) {
  const int32_t per_group = spec.out_channels / spec.groups;
  const auto group = static_cast<int32_t>(block / BlocksPerGroup(spec, most));
  const auto start = static_cast<int32_t>(block % BlocksPerGroup(spec, most)) * most;
  return ConvChannels{group * per_group + start, std::min(most, per_group - start),
                      group * (spec.in_channels / spec.groups)};
}

bool ConvGroups(const OpSpec& spec, const ConvLayout& layout, const ConvChannels& channels,
                Buffer<Group>* groups, Buffer<GroupPlace>* places) {
  const bool whole_rows = spec.groups == 1 && spec.dilation_w == 1;
  const int32_t depth = spec.in_channels / spec.groups;
  const int32_t taps = whole_rows ? 1 : spec.filter_w;  // runs of a filter row
  const int32_t run = whole_rows ? spec.filter_w * depth : depth;
  const size_t per_run = CeilDiv(run, layout.bytes);
  if (!groups->Allocate(per_run * taps * spec.filter_h) || !places->Allocate(groups->size())) {
    return false;
  }
  size_t g = 0;
  for (int32_t row = 0; row < spec.filter_h; ++row) {
    for (int32_t tap = 0; tap < taps; ++tap) {
      for (int32_t i = 0; i < run; i += layout.bytes, ++g) {
        (*places)[g] = GroupPlace{row, tap * spec.dilation_w * spec.in_channels + i};
        const int64_t k = (int64_t{row} * taps + tap) * run + i;
        for (int32_t c = 0; c < channels.count; ++c) {
          const int8_t* from = spec.weights + WeightIndex(spec, channels.first + c, k);
          int8_t* to = (*groups)[g].weights + layout.bytes * c;
          for (int32_t byte = 0; byte < std::min(layout.bytes, run - i); ++byte) {
            to[layout.PlaceOf(byte)] = from[byte];
          }
        }
      }
    }
  }
  return true;
}

bool BuildCheaperSchedule(const OpSpec& spec, const Buffer<Group>& groups, Schedule* schedule,
                          Form* form) {
  Schedule with_signs;
  if (!schedule->Build(groups.data(), groups.size(), spec, Form::kShifted) ||
      !with_signs.Build(groups.data(), groups.size(), spec, Form::kSigned)) {
    return false;
  }
  *form = Form::kShifted;
  if (3 * with_signs.steps() + with_signs.spills() < 2 * schedule->steps() + schedule->spills()) {
    *schedule = std::move(with_signs);
    *form = Form::kSigned;
  }
  return true;
}

}  // namespace accq
