// What 16-bit sums are worth: each layer of a network with int16 sums, with a spill after every
// step in the same loops, and, for avx2_k4n16, in its twin that adds each product to an int32 sum.
//
//   accq_bench_accumulators benchmarks/networks.txt NETWORK [KERNEL]
//
// Prints the fastest of many short rounds of each, in turns, on one thread, for weights that fit an
// int16 accumulator ("constrained") and for weights as converters leave them ("normal"), with
// operands of 8 bits; and the totals of the network. KERNEL: one with int16 sums, avx2_k4n16 unless
// given; layers that it does not handle are left out.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#ifdef ACCQ_BENCH_AVX2_INT32
#include "bench/avx2_int32.h"
#endif
#include "bench/timed_op.h"
#include "kernels/op.h"
#include "tests/layers.h"
#include "tests/problem.h"

namespace accq {
namespace {

struct Row {
  std::string name;
  Layer layer;
  int times = 0;
};

[[noreturn]] void Fail(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(1);
}

// One line of networks.txt, which explains itself.
Row ParseRow(const std::string& line) {
  std::istringstream words(line);
  std::string network, kind, input, filter, padding;
  Row row;
  int stride = 0;
  Layer& layer = row.layer;
  words >> network >> kind >> input >> layer.out_channels >> filter >> stride >> padding >>
      layer.groups >> row.times;
  const bool read =
      std::sscanf(input.c_str(), "%dx%dx%d", &layer.input.h, &layer.input.w, &layer.input.c) == 3 &&
      std::sscanf(filter.c_str(), "%dx%d", &layer.filter_h, &layer.filter_w) == 2;
  if (!words || !read) Fail("can not read the line: " + line);
  layer.kind = kind == "dense"       ? OpKind::kFullyConnected
               : kind == "depthwise" ? OpKind::kDepthwiseConv2D
                                     : OpKind::kConv2D;
  layer.stride_h = layer.stride_w = stride;
  layer.same_padding = padding == "same";
  row.name = kind + " " + filter + (stride > 1 ? " stride " + std::to_string(stride) : "") + ", " +
             input + " -> " + std::to_string(layer.out_channels);
  return row;
}

std::vector<Row> ReadNetwork(const char* path, const std::string& network) {
  std::ifstream file(path);
  if (!file) Fail(std::string("can not read ") + path);
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(network + " ", 0) == 0) rows.push_back(ParseRow(line));
  }
  if (rows.empty()) Fail(std::string(path) + " has no network " + network);
  return rows;
}

struct Figures {
  double int16 = 0, every_step = 0, int32 = 0;  // seconds; 0 where there is no such kernel

  void Add(const Figures& other, int times) {
    int16 += times * other.int16;
    every_step += times * other.every_step;
    int32 += times * other.int32;
  }
};

std::unique_ptr<PackedOp> Create(const Kernel& kernel, const OpSpec& spec) {
  std::string error;
  std::unique_ptr<PackedOp> op = kernel.create(spec, &error);
  if (op == nullptr) Fail(error);
  return op;
}

std::unique_ptr<PackedOp> CreateTwin(const Kernel& kernel, const OpSpec& spec) {
#ifdef ACCQ_BENCH_AVX2_INT32
  if (std::string(kernel.name) == "avx2_k4n16") {
    std::string error;
    std::unique_ptr<PackedOp> op = CreateAvx2Int32(spec, &error);
    if (op == nullptr) Fail(error);
    return op;
  }
#endif
  static_cast<void>(kernel), static_cast<void>(spec);
  return nullptr;
}

Figures Measure(const Kernel& kernel, const Layer& layer, Weights weights) {
  Problem problem(layer, weights, OperandRange{-3, -128, 127}, 1);
  const auto int16 = Create(kernel, problem.spec);
  const auto int32 = CreateTwin(kernel, problem.spec);
  problem.spec.most_steps = 1;
  const auto every_step = Create(kernel, problem.spec);
  Figures fastest;
  struct Contender {
    const PackedOp* op;
    double* seconds;
  };
  std::vector<std::unique_ptr<TimedOp>> timed;
  std::vector<double*> seconds;
  for (const auto& [op, fewest] :
       {Contender{int16.get(), &fastest.int16}, Contender{every_step.get(), &fastest.every_step},
        Contender{int32.get(), &fastest.int32}}) {
    if (op == nullptr) continue;
    timed.push_back(std::make_unique<TimedOp>(*op, problem));
    if (timed.back()->out() != timed.front()->out()) Fail("outputs differ");
    *fewest = timed.back()->Seconds(1);
    seconds.push_back(fewest);
  }
  const auto runs = static_cast<int64_t>(std::max(1.0, 3e-4 / fastest.int16));
  for (double total = 0; total < 1.5;) {
    for (size_t i = 0; i < timed.size(); ++i) {
      const double round = timed[i]->Seconds(runs);
      *seconds[i] = std::min(*seconds[i], round / runs);
      total += round;
    }
  }
  return fastest;
}

void Print(const std::string& name, int times, const char* weights, const Figures& figures) {
  std::printf("| %s | %s | %s | %.1f |", name.c_str(),
              times == 0 ? "" : std::to_string(times).c_str(), weights, figures.int16 * 1e6);
  for (const double other : {figures.every_step, figures.int32}) {
    if (other > 0) std::printf(" %.1f | %.2f |", other * 1e6, other / figures.int16);
  }
  std::printf("\n");
  std::fflush(stdout);
}

void MeasureNetwork(const std::vector<Row>& rows, const Kernel& kernel) {
  const bool twin =
      CreateTwin(kernel,
                 Problem(rows[0].layer, Weights::kNormal, OperandRange{-3, -128, 127}, 1).spec) !=
      nullptr;
  std::printf("| layer | times | weights | int16 sums, us | a spill per step, us | ratio |%s\n",
              twin ? " int32 sums, us | ratio |" : "");
  std::printf("|---|--:|---|--:|--:|--:|%s\n", twin ? "--:|--:|" : "");
  for (const Weights weights : {Weights::kConstrained, Weights::kNormal}) {
    Figures total;
    for (const Row& row : rows) {
      const Problem problem(row.layer, weights, OperandRange{-3, -128, 127}, 1);
      if (!kernel.handles(problem.spec)) continue;
      const Figures figures = Measure(kernel, row.layer, weights);
      Print(row.name, row.times, NameOf(weights), figures);
      total.Add(figures, row.times);
    }
    Print("all layers", 0, NameOf(weights), total);
  }
}

}  // namespace
}  // namespace accq

int main(int argc, char** argv) {
  if (argc < 3) accq::Fail("expected: accq_bench_accumulators networks.txt NETWORK [KERNEL]");
  const auto rows = accq::ReadNetwork(argv[1], argv[2]);
  std::string error;
  const accq::Kernel* kernel =
      accq::ChooseKernel(accq::OpSpec(), argc > 3 ? argv[3] : "avx2_k4n16", &error);
  if (kernel == nullptr) accq::Fail(error);
  accq::MeasureNetwork(rows, *kernel);
  return 0;
}
