// The layout k4n16 of convolution weights: blocks of 16 output channels; groups (schedule.h) of 4
// consecutive input bytes. Lane 2 * c + h of a group multiplies bytes 2 * h and 2 * h + 1 for the
// block's channel c.
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

inline constexpr int32_t kBlockChannels = 16;

struct ConvChannels {
  int32_t first, count;   // output channels of a block
  int32_t first_operand;  // input channel that its weights begin with
};

// Blocks of up to `most` channels, a multiple of kBlockChannels.
size_t CountConvBlocks(const OpSpec& spec, int32_t most = kBlockChannels);
ConvChannels ChannelsOfBlock(const OpSpec& spec, size_t block, int32_t most = kBlockChannels);

// Where a group's bytes lie: row of the filter, and bytes from the window's left end in that row.
struct GroupPlace {
  int32_t row, column;
};

// The groups of a block of up to 16 channels in file order. False when memory runs out.
[[nodiscard]] bool ConvGroups(const OpSpec& spec, const ConvChannels& channels,
                              Buffer<Group>* groups, Buffer<GroupPlace>* places);

// Builds the schedule of a block in the form that costs fewer vector instructions: per step and
// vector the shifted form takes two and the signed form three, and a spill takes one more.
[[nodiscard]] bool BuildCheaperSchedule(const OpSpec& spec, const Buffer<Group>& groups,
                                        Schedule* schedule, Form* form);

}  // namespace accq

#endif  // ACCQ_KERNELS_CONV_LAYOUT_H_
