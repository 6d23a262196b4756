// Random tests that run for a given time: each target calls FuzzMain with what one round does.
//
//   accq_fuzz_TARGET [--seconds=N] [--seed=N]
//
// A round draws from a generator seeded with the seed and its own number. A fault prints both, and
// `--seed=... --first=...` begins with that round again; a sanitizer stops in one of the thousand
// rounds behind the last number printed.
#ifndef ACCQ_TESTS_FUZZ_FUZZ_H_
#define ACCQ_TESTS_FUZZ_FUZZ_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

namespace accq {

class Dice {
 public:
  Dice(uint32_t seed, uint64_t round) {
    std::seed_seq sequence{seed, static_cast<uint32_t>(round), static_cast<uint32_t>(round >> 32)};
    random_.seed(sequence);
  }
  int64_t From(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  // True once in `sides` times.
  bool Once(int sides) { return From(1, sides) == 1; }
  template <typename Container>
  auto& Of(Container& container) {
    return container[static_cast<size_t>(From(0, static_cast<int64_t>(std::size(container)) - 1))];
  }
  uint32_t Bits() { return random_(); }

 private:
  std::mt19937 random_;
};

// Where a round finds a fault: prints what and how to repeat it, and ends the process. A sanitizer
// ends it too; the line printed last says which round it was in.
inline uint64_t current_round = 0;
inline uint32_t current_seed = 0;
inline void Fault(const std::string& what) {
  std::fprintf(stderr, "%s\nrepeat with --seed=%u --first=%llu\n", what.c_str(), current_seed,
               static_cast<unsigned long long>(current_round));
  std::abort();
}

// `round` gets dice, and returns whether what it made was valid; both kinds must come up.
template <typename Round>
int FuzzMain(int argc, char** argv, const Round& round) {
  double seconds = 20;
  uint64_t first = 0;
  uint32_t seed = std::random_device()();
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seconds=", 10) == 0) {
      seconds = std::atof(argv[i] + 10);
    } else if (std::strncmp(argv[i], "--seed=", 7) == 0) {
      seed = static_cast<uint32_t>(std::strtoul(argv[i] + 7, nullptr, 10));
    } else if (std::strncmp(argv[i], "--first=", 8) == 0) {
      first = std::strtoull(argv[i] + 8, nullptr, 10);
    } else {
      std::fprintf(stderr, "usage: %s [--seconds=N] [--seed=N] [--first=N]\n", argv[0]);
      return 2;
    }
  }
  std::printf("--seed=%u\n", seed);
  std::fflush(stdout);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  uint64_t valid = 0, rounds = 0;
  current_seed = seed;
  for (current_round = first; rounds == 0 || elapsed() < seconds; ++current_round, ++rounds) {
    if (rounds % 1000 == 0) {
      std::printf("from --first=%llu on\n", static_cast<unsigned long long>(current_round));
      std::fflush(stdout);
    }
    Dice dice(seed, current_round);
    if (round(&dice)) ++valid;
  }
  std::printf("%llu rounds, %llu of them valid\n", static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(valid));
  return 0;
}

}  // namespace accq

#endif  // ACCQ_TESTS_FUZZ_FUZZ_H_
