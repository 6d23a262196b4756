#include "kernels/neon/map_operands.h"

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "kernels/break.h"

namespace accq {
namespace {

class Clamp {
 public:
  explicit Clamp(const OperandMap& map) : low_(vdupq_n_s8(map.low)), high_(vdupq_n_s8(map.high)) {}

  int8x16_t operator()(int8x16_t x) const {
    return kBreakClamp ? x : vminq_s8(vmaxq_s8(x, low_), high_);
  }

 private:
  int8x16_t low_, high_;
};

void ClampBytes(const Clamp& clamp, const int8_t* from, size_t count, int8_t* to) {
  // In-order cores wait for each load.
  for (; count >= 64; count -= 64, from += 64, to += 64) {
    const int8x16_t a = vld1q_s8(from), b = vld1q_s8(from + 16), c = vld1q_s8(from + 32),
                    d = vld1q_s8(from + 48);
    vst1q_s8(to, clamp(a));
    vst1q_s8(to + 16, clamp(b));
    vst1q_s8(to + 32, clamp(c));
    vst1q_s8(to + 48, clamp(d));
  }
  for (; count >= 16; count -= 16, from += 16, to += 16) vst1q_s8(to, clamp(vld1q_s8(from)));
  if (count >= 8) {
    const int8x8_t x = vld1_s8(from);
    vst1_s8(to, vget_low_s8(clamp(vcombine_s8(x, x))));
    count -= 8, from += 8, to += 8;
  }
  for (; count > 0; --count) vst1q_lane_s8(to++, clamp(vdupq_n_s8(*from++)), 0);
}

}  // namespace

void MapOperandsNeon(const OperandMap& map, const OperandRuns& runs) {
  if (map.low == INT8_MIN && map.high == INT8_MAX) {
    for (int64_t i = 0; i < runs.runs; ++i) {
      std::memcpy(runs.to + i * runs.to_stride, runs.from + i * runs.from_stride, runs.bytes);
    }
    return;
  }
  const Clamp clamp(map);
  for (int64_t i = 0; i < runs.runs; ++i) {
    ClampBytes(clamp, runs.from + i * runs.from_stride, runs.bytes,
               reinterpret_cast<int8_t*>(runs.to + i * runs.to_stride));
  }
}

}  // namespace accq
