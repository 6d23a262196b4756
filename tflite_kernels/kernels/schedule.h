// Spill schedules: where sums of products in narrow lanes must be widened (int16 to int32, int8 to
// int16) so that they are exact for every input. Derived from the weights, so no file can make a
// kernel overflow.
//
// A vector kernel works through GROUPS of 32 lanes x 2 weights: a group adds x0 * w0 + x1 * w1 to
// each int16 lane (PMADDUBSW, then PADDW; or SMLAL twice). int32 additions commute, so the order of
// groups is free: it is chosen so that spills are few. Where weights and operands are so small that
// each product fits eight bits several times, a group may instead be 64 int8 lanes x 1 weight
// (MLA): twice as many products per instruction, widened to int16. The rule below is the whole
// algorithm, and keras_accq/layouts.py states the same one in Python:
//
//  1. The operand that is multiplied lies in [a, b], a <= 0 <= b, by form:
//       kShifted: u = x - in_min in [0, in_max - in_min]; one instruction multiplies.
//       kSigned:  x itself, [min(in_min, 0), max(in_max, 0)], as |x| * (sign(x) * w): one
//                 instruction more, but positive and negative weights cancel in the range.
//       kStored:  the same x and range, where an instruction multiplies signed bytes.
//       kBytes:   as kStored, with int8 lanes.
//  2. Weights fit a lane when, with P and N the sums of their positive and negative parts and L =
//     32767 or, of an int8 lane, 127,
//       b * P - a * N <= L   and   b * N - a * P <= L.
//     Zero is in [a, b], so every partial sum then fits too, in any order.
//  3. A group whose pair does not fit in some lane alone (PMADDUBSW would saturate, SMLAL wrap), or
//     in the signed form a group that holds -128 (PSIGNB can not negate it), becomes two steps with
//     the weights trunc(w / 2) and w - trunc(w / 2). Halves of int8 pairs always fit. Any other
//     group is one step. kBytes is only for layers without such groups (FitsBytes).
//  4. A segment is a set of steps whose weights, all together, fit in all lanes. At its end the
//     lanes are widened and added to wider sums: a spill. (A spec may ask for shorter segments.)
//  5. Steps are put into segments first fit, heaviest first: of each 128 consecutive steps (in the
//     order of the groups in the file), the one whose greatest bound of rule 2 is the greatest, of
//     equals the first, goes into the oldest segment of these 128 that has room, else into a new
//     one.
#ifndef ACCQ_KERNELS_SCHEDULE_H_
#define ACCQ_KERNELS_SCHEDULE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/op.h"

namespace accq {

inline constexpr int kLanes = 32;

struct alignas(64) Group {
  int8_t weights[2 * kLanes];  // lane i holds elements 2 * i and 2 * i + 1
};

enum class Form { kShifted, kSigned, kStored, kBytes };

// Whether int8 lanes suit a layer: any two products fit a lane together, and no int16 sum that
// lanes are widened to can overflow, because no output's sum of products leaves int16.
bool FitsBytes(const OpSpec& spec);

struct Segments {
  int32_t length, count;  // `count` segments of `length` steps each
};

// The steps of one block of channels, segments ordered by length: a kernel runs all segments of one
// length in one loop without a mispredicted branch.
class Schedule {
 public:
  // `groups` in file order. Takes time in proportion to them. False when memory runs out.
  [[nodiscard]] bool Build(const Group* groups, size_t count, const OpSpec& spec, Form form);

  size_t steps() const { return num_steps_; }
  size_t spills() const { return num_spills_; }
  size_t extra_steps() const { return num_steps_ - num_groups_; }
  const Buffer<Group>& packed() const { return steps_; }  // the steps' weights
  int32_t group_of_step(size_t i) const { return sources_[i]; }
  const Segments* segments() const { return segments_.data(); }
  size_t segment_kinds() const { return num_kinds_; }

 private:
  struct Packing;
  void Split(const Group* groups, const OpSpec& spec, Form form);
  template <int kCount>
  [[nodiscard]] bool Pack(const OpSpec& spec, Form form, Packing* packing);
  [[nodiscard]] bool SortByLength(const Packing& packing);

  Buffer<Group> steps_;
  Buffer<int32_t> sources_;
  Buffer<Segments> segments_;
  size_t num_groups_ = 0, num_steps_ = 0, num_spills_ = 0, num_kinds_ = 0;
};

}  // namespace accq

#endif  // ACCQ_KERNELS_SCHEDULE_H_
