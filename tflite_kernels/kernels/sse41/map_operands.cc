#include "kernels/sse41/map_operands.h"

#include "kernels/x86/map_operands.h"

namespace accq {

void MapOperandsSse41(const OperandMap& map, const OperandRuns& runs) {
  MapRunsOf<Bytes16>(map, runs);
}

}  // namespace accq
