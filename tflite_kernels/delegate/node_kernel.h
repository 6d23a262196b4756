// A claimed node while the interpreter lives: weights packed once, shapes and scratch memory
// renewed at each prepare.
#ifndef ACCQ_DELEGATE_NODE_KERNEL_H_
#define ACCQ_DELEGATE_NODE_KERNEL_H_

#include <string>

#include "abi/tflite_abi.h"
#include "kernels/op.h"

namespace accq {

// The functions that the runtime calls for a node of that kind.
TfLiteRegistration NodeKernelRegistration(OpKind kind);

// Gives a text to the runtime, which may have no place for it.
void ReportError(TfLiteContext* context, const std::string& text);

}  // namespace accq

#endif  // ACCQ_DELEGATE_NODE_KERNEL_H_
