// The options of TFLite's own operators, as the runtime hands them over.
#ifndef ACCQ_DELEGATE_BUILTIN_OPTIONS_H_
#define ACCQ_DELEGATE_BUILTIN_OPTIONS_H_

#include <string>

#include "delegate/op_options.h"
#include "kernels/op.h"

namespace accq {

// Reads TfLiteNode.builtin_data of the built-in operator of that kind into the options of our
// custom one, which mean the same. False and a text when they ask for what that one does not have.
bool ReadBuiltinOptions(OpKind kind, const void* builtin_data, OpOptions* options,
                        std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_BUILTIN_OPTIONS_H_
