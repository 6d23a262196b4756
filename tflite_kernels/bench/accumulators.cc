// What 16-bit sums are worth: each layer of a network with int16 sums, and in the same loops with
// int32 ones, which is a spill at every step.
//
//   accq_bench_accumulators benchmarks/networks.txt NETWORK [KERNEL]
//
// Prints the medians of both, in turns, on one thread, for weights that fit an int16 accumulator
// ("constrained") and for weights as converters leave them ("normal"), with operands of 8 bits; and
// the totals of the network. KERNEL: one with int16 sums, avx2_k4n16 unless given; layers that it
// does not handle are left out.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

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
  double int16 = 0, int32 = 0;  // seconds

  void Add(const Figures& other, int times) {
    int16 += times * other.int16;
    int32 += times * other.int32;
  }
};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::unique_ptr<PackedOp> Create(const Kernel& kernel, const OpSpec& spec) {
  std::string error;
  std::unique_ptr<PackedOp> op = kernel.create(spec, &error);
  if (op == nullptr) Fail(error);
  return op;
}

Figures Measure(const Kernel& kernel, const Layer& layer, Weights weights) {
  Problem problem(layer, weights, OperandRange{-3, -128, 127}, 1);
  const auto narrow = Create(kernel, problem.spec);
  problem.spec.most_steps = 1;
  const auto wide = Create(kernel, problem.spec);
  TimedOp int16(*narrow, problem), int32(*wide, problem);
  if (int16.out() != int32.out()) Fail("the two differ");
  const auto runs = static_cast<int64_t>(std::max(1.0, 5e-4 / int32.Seconds(1)));
  std::vector<double> int16_seconds, int32_seconds;
  for (int i = 0; i < 101; ++i) {
    int16_seconds.push_back(int16.Seconds(runs) / runs);
    int32_seconds.push_back(int32.Seconds(runs) / runs);
  }
  return {Median(int16_seconds), Median(int32_seconds)};
}

void Print(const std::string& name, int times, const char* weights, const Figures& figures) {
  std::printf("| %s | %s | %s | %.1f | %.1f | %.2f |\n", name.c_str(),
              times == 0 ? "" : std::to_string(times).c_str(), weights, figures.int32 * 1e6,
              figures.int16 * 1e6, figures.int32 / figures.int16);
  std::fflush(stdout);
}

void MeasureNetwork(const std::vector<Row>& rows, const Kernel& kernel) {
  std::printf("| layer | times | weights | int32 sums, us | int16 sums, us | ratio |\n");
  std::printf("|---|--:|---|--:|--:|--:|\n");
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
