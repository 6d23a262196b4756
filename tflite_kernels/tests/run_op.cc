#include "tests/run_op.h"

#include <cstring>
#include <string>

#include "tests/die.h"
#include "tests/guarded_memory.h"

namespace accq {

std::vector<int8_t> RunOp(const PackedOp& op, const OpSpec& spec, const Shape4& input,
                          const std::vector<int8_t>& values, int parts) {
  Shape4 output;
  std::string error;
  if (!OutputShape(spec, input, &output, &error)) Die(error);
  const size_t bytes = op.ScratchBytes(input);
  const size_t outputs = size_t{1} * output.n * output.h * output.w * output.c;
  const GuardedMemory in(values.size()), out(outputs), scratch(bytes, 64);
  if (in.get() == nullptr || out.get() == nullptr || scratch.get() == nullptr) Die("no memory");
  std::memcpy(in.get(), values.data(), values.size());
  auto* const result = static_cast<int8_t*>(out.get());
  std::memset(result, 0x5A, outputs);
  for (int part = parts - 1; part >= 0; --part) {
    std::memset(scratch.get(), 0xA5, bytes);
    op.RunPart(input, static_cast<const int8_t*>(in.get()), result, scratch.get(), part, parts);
  }
  return std::vector<int8_t>(result, result + outputs);
}

}  // namespace accq
