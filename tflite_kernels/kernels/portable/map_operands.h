#ifndef ACCQ_KERNELS_PORTABLE_MAP_OPERANDS_H_
#define ACCQ_KERNELS_PORTABLE_MAP_OPERANDS_H_

#include "kernels/operands.h"

namespace accq {

// Clamps; every kernel here multiplies operands as they are stored (OperandForm::kValue).
void MapOperandsPortable(const OperandMap& map, const OperandRuns& runs);

}  // namespace accq

#endif  // ACCQ_KERNELS_PORTABLE_MAP_OPERANDS_H_
