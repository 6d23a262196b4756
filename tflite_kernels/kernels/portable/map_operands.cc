#include "kernels/portable/map_operands.h"

#include <cstring>

#include "kernels/break.h"

namespace accq {
namespace {

void ClampBytes(const OperandMap& map, const int8_t* __restrict from, size_t count,
                int8_t* __restrict to) {
  for (size_t i = 0; i < count; ++i) {
    const int8_t above = from[i] < map.low ? map.low : from[i];
    to[i] = above > map.high ? map.high : above;
  }
}

}  // namespace

void MapOperandsPortable(const OperandMap& map, const OperandRuns& runs) {
  const bool all = kBreakClamp || (map.low == INT8_MIN && map.high == INT8_MAX);
  for (int64_t i = 0; i < runs.runs; ++i) {
    const int8_t* from = runs.from + i * runs.from_stride;
    auto* to = reinterpret_cast<int8_t*>(runs.to + i * runs.to_stride);
    if (all) {
      std::memcpy(to, from, runs.bytes);
    } else {
      ClampBytes(map, from, runs.bytes, to);
    }
  }
}

}  // namespace accq
