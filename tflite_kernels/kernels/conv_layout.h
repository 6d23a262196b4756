// Layouts of convolution weights: blocks of output channels; groups (schedule.h) of consecutive
// input bytes, which together fill a group's 64 weights.
//   k4n16: 16 channels, 4 bytes. Lane 2 * c + h of a group multiplies bytes 2 * h and 2 * h + 1 for
//          the block's channel c.
//   k16n4: 4 channels, 16 bytes. Lane 8 * c + i multiplies bytes i and i + 8.
//   k16n4p: the same, but bytes 2 * i and 2 * i + 1. With lanes of a byte, lane 16 * c + i
//           multiplies byte i.
//
// Groups run along the bytes that lie side by side in the input: a whole filter row (filter_w *
// in_channels) when the filter is dense and has one group of channels, else each tap on its own.
// The last group of a run is filled with zero weights, and so are the channels that a block lacks.
// Blocks do not cross channel groups.
#ifndef ACCQ_KERNELS_CONV_LAYOUT_H_
#define ACCQ_KERNELS_CONV_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/op.h"
#include "kernels/schedule.h"

namespace accq {

struct ConvLayout {
  int32_t channels;  // of a group
  int32_t bytes;     // of a group
  int32_t distance;  // between the two bytes of a lane

  // Where among a channel's weights in a group that of byte `byte` stands.
  constexpr int32_t PlaceOf(int32_t byte) const {
    const int32_t pair = byte / (2 * distance), rest = byte % (2 * distance);
    return 2 * (pair * distance + rest % distance) + rest / distance;
  }
};

inline constexpr ConvLayout kK4N16 = {16, 4, 1};
inline constexpr ConvLayout kK16N4 = {4, 16, 8};
inline constexpr ConvLayout kK16N4Pairs = {4, 16, 1};
inline constexpr int32_t kBlockChannels = kK4N16.channels;

struct ConvChannels {
  int32_t first, count;   // output channels of a block
  int32_t first_operand;  // input channel that its weights begin with
};

// Blocks of up to `most` channels, a multiple of the layout's.
size_t CountConvBlocks(const OpSpec& spec, int32_t most);
ConvChannels ChannelsOfBlock(const OpSpec& spec, size_t block, int32_t most);

// Where a group's bytes lie: row of the filter, and bytes from the window's left end in that row.
struct GroupPlace {
  int32_t row, column;
};

// The groups of up to layout.channels channels in file order. False when memory runs out.
[[nodiscard]] bool ConvGroups(const OpSpec& spec, const ConvLayout& layout,
                              const ConvChannels& channels, Buffer<Group>* groups,
                              Buffer<GroupPlace>* places);

// Builds the schedule of a k4n16 block in the form that costs fewer vector instructions: per step
// and vector the shifted form takes two and the signed form three, and a spill takes one more.
[[nodiscard]] bool BuildCheaperSchedule(const OpSpec& spec, const Buffer<Group>& groups,
                                        Schedule* schedule, Form* form);

}  // namespace accq

#endif  // ACCQ_KERNELS_CONV_LAYOUT_H_
