// Strips of the input, copied, clamped and padded, so that kernels find operands at fixed offsets
// from a pixel and never read outside a user's tensor.
#ifndef ACCQ_KERNELS_STRIP_H_
#define ACCQ_KERNELS_STRIP_H_

#include <cstddef>
#include <cstdint>

#include "kernels/geometry.h"
#include "kernels/op.h"
#include "kernels/operands.h"

namespace accq {

// One spatial axis of a strip. Along an axis where the filter has one element, strips hold only
// what the stride leaves: `step` input elements lie between neighbours, and windows are 1 apart.
struct StripAxis {
  int64_t out;         // outputs of the whole image
  int64_t pad_before;  // of the whole image; negative: elements before the first window
  int64_t extent;      // elements under all windows of the whole image
  int64_t step;        // in the input, between neighbours of the strip
  int64_t stride;      // in the strip, between neighbouring windows
};

// How an input of some size is cut into strips of whole output rows. A strip holds the input rows
// that its windows cover, padding included.
struct StripPlan {
  Shape4 input;
  StripAxis y, x;
  int64_t strip_rows = 0;  // output rows of a strip; the last one may have fewer
  size_t pixel_bytes = 0;  // channels, rounded up
  size_t row_bytes = 0;    // of one padded input row
  size_t plane_bytes = 0;  // of a strip, with slack for vector reads that start inside it
};

// `channel_multiple`: what the bytes of a pixel are rounded up to. False when sizes overflow or the
// offsets inside a window do not fit int32.
bool PlanStrips(const OpSpec& spec, const Shape4& input, int32_t channel_multiple, StripPlan* plan);

// The same for windows that lie where the axes say.
bool PlanStrips(const OpSpec& spec, const Shape4& input, const StripAxis& y, const StripAxis& x,
                int32_t channel_multiple, StripPlan* plan);

// Where to put a strip: u = x' - in_min; |x'| and x'. Null planes are not wanted.
struct StripPlanes {
  uint8_t* shifted = nullptr;
  uint8_t* magnitude = nullptr;
  uint8_t* value = nullptr;
};

// Fills a strip for `out_rows` output rows of image `n`, from `out_row` on.
void FillStrip(const OpSpec& spec, const StripPlan& plan, MapOperands map, const int8_t* in,
               int64_t n, int64_t out_row, int64_t out_rows, const StripPlanes& planes);

}  // namespace accq

#endif  // ACCQ_KERNELS_STRIP_H_
