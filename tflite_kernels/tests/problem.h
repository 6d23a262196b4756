// Layers filled with numbers: what kernel tests and benchmarks run.
#ifndef ACCQ_TESTS_PROBLEM_H_
#define ACCQ_TESTS_PROBLEM_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "tests/layers.h"

namespace accq {

enum class Weights {
  kNormal,   // bell-shaped, greatest magnitude of each channel 127, as converters leave them
  kUniform,  // every int8 value
  kAll127,
  kAllMinus128,
  kAlternating,  // 127, -128, 127, ...
  kConstrained,  // random, magnitudes of a channel sum to just what int16 holds
  kSparse,
  kFourBits,  // -7 to 7, with a channel's magnitudes like kConstrained's or less
  kAll7,      // as many as kConstrained's magnitudes are enough for, then zeros
};
const std::vector<Weights>& AllWeights();
const char* NameOf(Weights kind);

struct OperandRange {
  int32_t zero, min, max;
};

// A valid layer; owns what its spec points to.
struct Problem {
  Problem(const Layer& layer, Weights kind, const OperandRange& range, uint32_t seed);
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  OpSpec spec;
  Shape4 input;
  int64_t macs = 0;  // multiply-accumulates of one run
  std::vector<int8_t> weights;
  std::vector<int32_t> bias;
};

enum class Inputs {
  kRandom,   // every int8 value, so many lie outside a narrow operand range
  kLargest,  // the product of greatest value with each weight of one channel, in aligned windows
  kLeast,    // the same with the least
};
std::vector<int8_t> MakeInput(const Problem& problem, Inputs kind, uint32_t seed);

}  // namespace accq

#endif  // ACCQ_TESTS_PROBLEM_H_
