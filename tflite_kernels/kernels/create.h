// How every kernel makes its packed op: Op is default-constructible and has
// `bool Init(const OpSpec&, ...)`, false when memory runs out.
#ifndef ACCQ_KERNELS_CREATE_H_
#define ACCQ_KERNELS_CREATE_H_

#include <memory>
#include <new>
#include <string>

#include "kernels/op.h"

namespace accq {

template <typename Op, typename... More>
std::unique_ptr<PackedOp> CreateOp(const OpSpec& spec, std::string* error, const More&... more) {
  std::unique_ptr<Op> op(new (std::nothrow) Op);
  if (op == nullptr || !op->Init(spec, more...)) {
    *error = "no memory to pack the weights";
    return nullptr;
  }
  return op;
}

}  // namespace accq

#endif  // ACCQ_KERNELS_CREATE_H_
