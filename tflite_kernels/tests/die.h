#ifndef ACCQ_TESTS_DIE_H_
#define ACCQ_TESTS_DIE_H_

#include <cstdio>
#include <cstdlib>
#include <string>

namespace accq {

// Ends the process, where the test's own numbers make no sense.
[[noreturn]] inline void Die(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::abort();
}

}  // namespace accq

#endif  // ACCQ_TESTS_DIE_H_
