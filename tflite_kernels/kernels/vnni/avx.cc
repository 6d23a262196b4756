#include "kernels/vnni/avx_tile.h"
#include "kernels/vnni/conv_tiles.h"

namespace accq {

using Tiles = DotTiles<AvxVnni<Encoding::kVex>>;

int AvxVnniTilePixels(TileKind kind) { return Tiles::Pixels(kind); }

ConvTileFunction FindAvxVnniTile(TileKind kind, int pixels, int channels) {
  return Tiles::Find(kind, pixels, channels);
}

}  // namespace accq
