#ifndef ACCQ_KERNELS_SSE41_MAP_OPERANDS_H_
#define ACCQ_KERNELS_SSE41_MAP_OPERANDS_H_

#include "kernels/operands.h"

namespace accq {

void MapOperandsSse41(const OperandMap& map, const OperandRuns& runs);

}  // namespace accq

#endif  // ACCQ_KERNELS_SSE41_MAP_OPERANDS_H_
