#include "kernels/packed_conv.h"

#include <algorithm>
#include <new>

#include "kernels/buffer.h"
#include "kernels/conv_layout.h"
#include "kernels/geometry.h"
#include "kernels/output_range.h"
#include "kernels/requantize.h"

namespace accq {
namespace {

// Pixels whose operands pass through the first-level cache together, once per channel block; a
// multiple of the heights of all kinds of tile.
constexpr int kChunkPixels = 96;
constexpr int kChunkMultiple = 24;

// Of `left` pixels, the next that pass together: not so many that only a few are left.
int ChunkOf(int64_t left) {
  if (left <= kChunkPixels) return static_cast<int>(left);
  if (left >= 2 * kChunkPixels) return kChunkPixels;
  return static_cast<int>((left / 2 + kChunkMultiple - 1) / kChunkMultiple * kChunkMultiple);
}

}  // namespace

struct PackedConv::Block {
  Schedule schedule;  // empty for a dot product's
  Form form = Form::kShifted;
  TileKind tile = TileKind::kDot;
  ConvChannels channels;
  // [step][layout.channels], where it is not as the schedule has it. If stored, zeros behind it.
  Buffer<Group> reordered;
  Buffer<GroupPlace> places;  // one per step
  Buffer<int32_t> columns;    // the same, for filters of a single row, and a 0
  size_t first_step;          // where its offsets begin among those of all blocks
  alignas(kAlignment) int32_t bias[kMostBlockChannels] = {};
  alignas(kAlignment) float multiplier[kMostBlockChannels] = {};

  bool Init(const OpSpec& spec, const ConvLoops& loops, size_t index);
  const Buffer<Group>& packed() const {
    return reordered.size() > 0 ? reordered : schedule.packed();
  }

 private:
  bool PackInt16(const OpSpec& spec, const ConvLoops& loops);
  bool BuildSchedule(const OpSpec& spec, const ConvLoops& loops, const Buffer<Group>& groups);
  bool PackDots(const OpSpec& spec, const ConvLoops& loops);
};

bool PackedConv::Block::Init(const OpSpec& spec, const ConvLoops& loops, size_t index) {
  channels = ChannelsOfBlock(spec, index, loops.block_channels);
  if (loops.stored) form = loops.bytes ? Form::kBytes : Form::kStored;
  if (!(loops.dots ? PackDots(spec, loops) : PackInt16(spec, loops)) ||
      !columns.Allocate(places.size() + 1)) {
    return false;
  }
  for (size_t s = 0; s < places.size(); ++s) columns[s] = places[s].column;
  for (int32_t c = 0; c < channels.count; ++c) {
    // sum x' q = sum u q + in_min * sum q; validated as the sum of the input that is all in_min.
    const int64_t shift =
        form == Form::kShifted ? spec.in_min * SumOfWeights(spec, channels.first + c) : 0;
    bias[c] = static_cast<int32_t>(EffectiveBias(spec, channels.first + c) + shift);
    multiplier[c] = spec.multiplier[channels.first + c];
  }
  return true;
}

bool PackedConv::Block::PackInt16(const OpSpec& spec, const ConvLoops& loops) {
  Buffer<Group> groups;
  Buffer<GroupPlace> group_places;
  if (!ConvGroups(spec, loops.layout, channels, &groups, &group_places) ||
      !BuildSchedule(spec, loops, groups) || !places.Allocate(schedule.steps())) {
    return false;
  }
  for (size_t s = 0; s < places.size(); ++s) places[s] = group_places[schedule.group_of_step(s)];
  tile = form == Form::kSigned                                       ? TileKind::kShortSigned
         : schedule.steps() < loops.long_segment * schedule.spills() ? TileKind::kShortShifted
                                                                     : TileKind::kLongShifted;
  return true;
}

bool PackedConv::Block::BuildSchedule(const OpSpec& spec, const ConvLoops& loops,
                                      const Buffer<Group>& groups) {
  if (!loops.stored) return BuildCheaperSchedule(spec, groups, &schedule, &form);
  if (!schedule.Build(groups.data(), groups.size(), spec, form) ||
      !reordered.Allocate(schedule.steps() + 1)) {
    return false;
  }
  for (size_t s = 0; s < schedule.steps(); ++s) {
    for (int32_t i = 0; i < 2 * kLanes; ++i) {
      const int32_t byte = i % loops.layout.bytes;
      reordered[s].weights[i] = schedule.packed()[s].weights[i - byte + loops.layout.PlaceOf(byte)];
    }
  }
  return true;
}

bool PackedConv::Block::PackDots(const OpSpec& spec, const ConvLoops& loops) {
  const ConvLayout& layout = loops.layout;
  const auto place = [&](int32_t channel, int32_t byte) {
    return loops.place != nullptr ? loops.place(channel, byte) : channel * layout.bytes + byte;
  };
  // A step always has all of the groups that `place` knows of.
  const int32_t all = loops.place != nullptr ? loops.block_channels : channels.count;
  const int32_t width = (all + layout.channels - 1) / layout.channels;
  for (int32_t first = 0; first < channels.count; first += layout.channels) {
    ConvChannels part = channels;
    part.first += first;
    part.count = std::min(layout.channels, channels.count - first);
    Buffer<Group> groups;
    if (!ConvGroups(spec, layout, part, &groups, &places) ||
        (first == 0 && !reordered.Allocate(groups.size() * width))) {
      return false;
    }
    for (size_t g = 0; g < groups.size(); ++g) {
      auto* const step = reinterpret_cast<int8_t*>(reordered.data() + g * width);
      for (int32_t i = 0; i < part.count * layout.bytes; ++i) {
        const int32_t channel = i / layout.bytes, byte = i % layout.bytes;
        step[place(first + channel, byte)] =
            groups[g].weights[channel * layout.bytes + layout.PlaceOf(byte)];
      }
    }
  }
  return true;
}

PackedConv::PackedConv() = default;
PackedConv::~PackedConv() = default;

bool PackedConv::Init(const OpSpec& spec, const ConvLoops& loops) {
  spec_ = spec;
  loops_ = &loops;
  num_blocks_ = CountConvBlocks(spec, loops.block_channels);
  blocks_.reset(new (std::nothrow) Block[num_blocks_]);
  if (blocks_ == nullptr) return false;
  for (size_t b = 0; b < num_blocks_; ++b) {
    Block& block = blocks_[b];
    if (!block.Init(spec, loops, b)) return false;
    (block.form == Form::kShifted ? any_shifted_ : any_stored_) = true;
    if (block.form == Form::kSigned) any_signed_ = true;
    // Without schedules the steps of all blocks are the same.
    const bool shares_steps = loops.dots && b > 0;
    block.first_step = shares_steps ? 0 : num_steps_;
    if (!shares_steps) num_steps_ += block.places.size();
  }
  spec_.weights = nullptr;  // the caller's; packed now
  spec_.bias = nullptr;
  return true;
}

size_t PackedConv::ScratchBytes(const StripPlan& plan) const {
  size_t bytes;
  const bool fits = MultiplySizes(plan.plane_bytes, Planes(), &bytes) &&
                    !__builtin_add_overflow(bytes, OffsetBytes(), &bytes);
  return fits ? bytes : SIZE_MAX;
}

void PackedConv::FillOffsets(const StripPlan& plan, int32_t* offsets) const {
  const size_t row_bytes = plan.row_bytes * spec_.dilation_h;
  const size_t blocks = loops_->dots ? 1 : num_blocks_;
  for (size_t b = 0; b < blocks; ++b) {
    const Buffer<GroupPlace>& places = blocks_[b].places;
    for (size_t s = 0; s < places.size(); ++s) {
      *offsets++ = static_cast<int32_t>(places[s].row * row_bytes + places[s].column);
    }
  }
  *offsets = 0;
}

void PackedConv::Run(const StripPlan& plan, const int8_t* in, const OutputGrid& out, void* scratch,
                     int part, int parts) const {
  auto* memory = static_cast<uint8_t*>(scratch);
  StripPlanes planes;
  for (uint8_t** plane :
       {any_shifted_ ? &planes.shifted : nullptr, any_signed_ ? &planes.magnitude : nullptr,
        any_stored_ ? &planes.value : nullptr}) {
    if (plane == nullptr) continue;
    *plane = memory;
    memory += plan.plane_bytes;
  }
  int32_t* offsets = nullptr;
  if (OffsetBytes() != 0) {
    offsets = reinterpret_cast<int32_t*>(memory);
    FillOffsets(plan, offsets);
  }
  // Parts share the rows; or, where these have too few pixels to be worth passing all weights
  // through the caches once per part, the channel blocks.
  const int64_t all_rows = plan.input.n * plan.y.out;
  const int64_t all_blocks = static_cast<int64_t>(num_blocks_);
  const bool by_blocks =
      all_blocks >= parts && all_rows * plan.x.out < int64_t{kChunkPixels} / 2 * parts;
  const Share rows = by_blocks ? Share{0, all_rows} : ShareOf(all_rows, part, parts);
  const Share blocks = by_blocks ? ShareOf(all_blocks, part, parts) : Share{0, all_blocks};
  for (int64_t done = rows.first; done < rows.last;) {
    const int64_t n = done / plan.y.out, row = done % plan.y.out;
    const int64_t count = std::min({plan.strip_rows, plan.y.out - row, rows.last - done});
    FillStrip(spec_, plan, loops_->map, in, n, row, count, planes);
    RunStrip(plan, planes, offsets, count, blocks, out, out.first + n * out.image + row * out.row);
    done += count;
  }
}

void PackedConv::RunStrip(const StripPlan& plan, const StripPlanes& planes, const int32_t* offsets,
                          int64_t out_rows, const Share& blocks, const OutputGrid& grid,
                          int8_t* out) const {
  const OutputRange range = OutputRangeOf(spec_);
  const int64_t pixels = out_rows * plan.x.out;
  // Tiles step from pixel to pixel: they go on into the next row where it begins a step further.
  const bool even = grid.row == plan.x.out * grid.pixel;
  ptrdiff_t places[kChunkPixels];  // of the chunk's pixels in a plane
  int64_t x = 0;
  size_t row_start = 0;
  for (int64_t done = 0; done < pixels;) {
    const int64_t left = even ? pixels - done : plan.x.out - x;
    const int chunk = ChunkOf(left);
    int8_t* const first_out = out + done / plan.x.out * grid.row + x * grid.pixel;
    for (int i = 0; i < chunk; ++i) {
      places[i] = row_start + x * plan.x.stride * plan.pixel_bytes;
      if (++x == plan.x.out) {
        x = 0;
        row_start += plan.y.stride * plan.row_bytes;
      }
    }
    for (int64_t b = blocks.first; b < blocks.last; ++b) {
      const Block& block = blocks_[b];
      const ConvBlock packed = {
          block.packed().data(),
          block.places.size(),
          offsets == nullptr ? block.columns.data() : offsets + block.first_step,
          block.schedule.segments(),
          block.schedule.segment_kinds(),
          block.bias,
          block.multiplier,
          block.channels.count,
      };
      const uint8_t* plane = (block.form == Form::kShifted  ? planes.shifted
                              : block.form == Form::kSigned ? planes.magnitude
                                                            : planes.value) +
                             block.channels.first_operand;
      // Evenly, the first ones with one more: a tile of few pixels waits for each of its sums.
      const int height = loops_->tile_pixels(block.tile);
      const int tiles = (chunk + height - 1) / height;
      const int least = chunk / tiles, with_more = chunk % tiles;
      ConvTile tile = {plane,
                       places,
                       static_cast<ptrdiff_t>(plan.plane_bytes),
                       first_out + block.channels.first,
                       grid.pixel,
                       1};
      const auto run = [&](int height_of_each, int count) {
        const ConvTileFunction function =
            loops_->find_tile(block.tile, height_of_each, block.channels.count);
        tile.count = loops_->takes_many ? count : 1;
        for (int t = 0; t < count; t += tile.count) {
          function(packed, tile, range);
          tile.pixels += tile.count * height_of_each;
          tile.out += tile.count * height_of_each * grid.pixel;
        }
      };
      if (with_more > 0) run(least + 1, with_more);
      run(least, tiles - with_more);
    }
    done += chunk;
  }
}

void PackedConv::AddTo(OpReport* report) const {
  for (size_t b = 0; b < num_blocks_; ++b) {
    const Block& block = blocks_[b];
    report->steps += block.schedule.steps();
    report->spills += block.schedule.spills();
    report->extra_steps += block.schedule.extra_steps();
    if (block.tile == TileKind::kDot) report->int32_steps += block.reordered.size();
    report->packed_bytes += block.packed().bytes();
  }
}

}  // namespace accq
