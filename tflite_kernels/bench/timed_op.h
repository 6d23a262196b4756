#ifndef ACCQ_BENCH_TIMED_OP_H_
#define ACCQ_BENCH_TIMED_OP_H_

#include <time.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "tests/problem.h"

namespace accq {

// Repeats an operator and takes this thread's time, which other programs hardly change.
class TimedOp {
 public:
  TimedOp(const PackedOp& op, const Problem& problem) : op_(op), problem_(problem) {
    Shape4 output;
    std::string error;
    if (!OutputShape(problem.spec, problem.input, &output, &error)) std::abort();
    in_ = MakeInput(problem, Inputs::kRandom, 1);
    out_.resize(size_t{1} * output.n * output.h * output.w * output.c);
    if (posix_memalign(&scratch_, 64, op.ScratchBytes(problem.input)) != 0) std::abort();
    Seconds(1);  // warms caches
  }
  ~TimedOp() { std::free(scratch_); }
  TimedOp(const TimedOp&) = delete;
  TimedOp& operator=(const TimedOp&) = delete;

  // Of that many runs.
  double Seconds(int64_t runs) {
    const double start = Now();
    for (int64_t i = 0; i < runs; ++i) op_.Run(problem_.input, in_.data(), out_.data(), scratch_);
    return Now() - start;
  }

  const std::vector<int8_t>& out() const { return out_; }

 private:
  static double Now() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
  }

  const PackedOp& op_;
  const Problem& problem_;
  std::vector<int8_t> in_, out_;
  void* scratch_ = nullptr;
};

}  // namespace accq

#endif  // ACCQ_BENCH_TIMED_OP_H_
