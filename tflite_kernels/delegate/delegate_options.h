// The options that a user gives when loading the delegate, as pairs of strings.
#ifndef ACCQ_DELEGATE_DELEGATE_OPTIONS_H_
#define ACCQ_DELEGATE_DELEGATE_OPTIONS_H_

#include <cstddef>
#include <string>

namespace accq {

constexpr int kMaxThreads = 64;

struct DelegateOptions {
  std::string kernel;          // force this kernel for every op; empty: the best one for each
  std::string report_path;     // append a JSON line per prepared node to this file
  bool verbose = false;        // log which kernel each node got
  bool claim_builtin = false;  // also take int8 built-in operators, where that is faster
  int threads = 0;             // that run one operator; 0: as many as the interpreter recommends
};

// False and a text when a key is unknown, a value is malformed, the kernel does not exist or can
// not run on this CPU, or the report file can not be written.
bool ParseDelegateOptions(const char* const* keys, const char* const* values, size_t count,
                          DelegateOptions* options, std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_DELEGATE_OPTIONS_H_
