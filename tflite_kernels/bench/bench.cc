// Prints GMAC/s of whole operators (copies and requantization included) on one thread, for each
// layer of NetworkLayers() and each kernel that takes it.
//
//   accq_bench [--kernel=NAME] [SUBSTRING]
//
// SUBSTRING restricts the layers by name. The weights are "normal" (as converters leave them) or
// "constrained" (each channel fits an int16 accumulator); operands have 8 bits.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench/timed_op.h"
#include "kernels/op.h"
#include "tests/layers.h"
#include "tests/problem.h"

namespace accq {
namespace {

// The fastest of the rounds of about 0.3 s, each of at least 0.2 ms: what else a machine does only
// ever adds time.
double SecondsPerRun(const PackedOp& op, const Problem& problem) {
  TimedOp timed(op, problem);
  const auto runs = static_cast<int64_t>(std::max(1.0, 2e-4 / std::max(timed.Seconds(1), 1e-7)));
  double fastest = timed.Seconds(runs), total = fastest;
  while (total < 0.3) {
    const double seconds = timed.Seconds(runs);
    fastest = std::min(fastest, seconds);
    total += seconds;
  }
  return fastest / runs;
}

void Measure(const Layer& layer, Weights weights, const std::string& only_kernel) {
  const Problem problem(layer, weights, OperandRange{-3, -128, 127}, 1);
  for (const Kernel* kernel : KernelTable()) {
    if (!only_kernel.empty() && only_kernel != kernel->name) continue;
    if (!kernel->supported_cpu() || !kernel->handles(problem.spec)) continue;
    std::string error;
    const auto op = kernel->create(problem.spec, &error);
    if (op == nullptr) {
      std::fprintf(stderr, "%s\n", error.c_str());
      std::exit(1);
    }
    const double seconds = SecondsPerRun(*op, problem);
    const OpReport report = op->Report();
    std::printf(
        "%-30s %-11s %-12s %9.2f us %7.1f GMAC/s %7lld steps %6lld spills %6lld extra "
        "%6lld int32\n",
        layer.name, NameOf(weights), kernel->name, seconds * 1e6, problem.macs / seconds * 1e-9,
        static_cast<long long>(report.steps), static_cast<long long>(report.spills),
        static_cast<long long>(report.extra_steps), static_cast<long long>(report.int32_steps));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace accq

int main(int argc, char** argv) {
  std::string kernel, layer_part;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--kernel=", 0) == 0) {
      kernel = argument.substr(std::strlen("--kernel="));
    } else {
      layer_part = argument;
    }
  }
  for (const accq::Layer& layer : accq::NetworkLayers()) {
    if (std::string(layer.name).find(layer_part) == std::string::npos) continue;
    for (const accq::Weights weights : {accq::Weights::kNormal, accq::Weights::kConstrained}) {
      accq::Measure(layer, weights, kernel);
    }
  }
  return 0;
}
