// What the assembly of this folder shares. Each block of it is an asm statement of a function
// template over the number of pixels, with operands
//   [pixels] "i"   that number, the template's argument
//   [p0], [p1] ... where the pixels' first operands lie; those that are not used stand for the
//   first
#ifndef ACCQ_KERNELS_AARCH64_ASSEMBLY_H_
#define ACCQ_KERNELS_AARCH64_ASSEMBLY_H_

#include <cstdint>

#include "kernels/conv_loops.h"

namespace accq {

// Sets `operands` for a tile of `pixels` pixels.
template <int kMost>
void FindOperands(const ConvTile& tile, int pixels, const int8_t* (&operands)[kMost]) {
  for (int i = 0; i < kMost; ++i) {
    operands[i] = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[i < pixels ? i : 0];
  }
}

}  // namespace accq

// clang-format off

// Only for tiles of more than `p` pixels.
#define PIXEL(p, text) ".if %c[pixels] > " #p "\n" text ".endif\n"

// Loads 16 operands of pixel p.
#define OPERANDS(p, x, offset) PIXEL(p, "ldr q" #x ", [%[p" #p "], " offset "]\n")

#define WEIGHTS(v, w, place) "ldp q" #v ", q" #w ", [%[weights], #" #place "]\n"

#define EVERY_VECTOR                                                                             \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", \
  "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27",     \
  "v28", "v29", "v30", "v31"

// clang-format on

#endif  // ACCQ_KERNELS_AARCH64_ASSEMBLY_H_
