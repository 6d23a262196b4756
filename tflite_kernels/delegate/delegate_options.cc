#include "delegate/delegate_options.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "delegate/text.h"
#include "kernels/op.h"

namespace accq {
namespace {

bool CheckKernel(const std::string& name, std::string* error) {
  std::string names;
  for (const Kernel* kernel : KernelTable()) {
    if (name == kernel->name) {
      if (kernel->supported_cpu()) return true;
      *error = Format("option kernel: this CPU can not run \"%s\"", kernel->name);
      return false;
    }
    names += names.empty() ? kernel->name : std::string(", ") + kernel->name;
  }
  *error = Format("option kernel: there is no \"%s\"; this build has: %s",
                  ShortName(name.c_str()).c_str(), names.c_str());
  return false;
}

bool CheckReportPath(const std::string& path, std::string* error) {
  FILE* file = path.empty() ? nullptr : fopen(path.c_str(), "ab");
  if (file == nullptr) {
    *error = Format("option report_path: \"%s\" can not be opened for writing: %s",
                    Printable(path.c_str()).c_str(), path.empty() ? "empty" : strerror(errno));
    return false;
  }
  fclose(file);
  return true;
}

// True and False are how Python writes a bool into these strings.
bool ParseBool(const std::string& text, bool* value) {
  *value = text == "1" || text == "True" || text == "true";
  return *value || text == "0" || text == "False" || text == "false";
}

bool ParseThreads(const std::string& text, int* threads) {
  if (text.empty() || text.size() > 3) return false;
  *threads = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    *threads = *threads * 10 + (c - '0');
  }
  return *threads <= kMaxThreads;
}

}  // namespace

bool ParseDelegateOptions(const char* const* keys, const char* const* values, size_t count,
                          DelegateOptions* options, std::string* error) {
  if (count > 0 && (keys == nullptr || values == nullptr)) {
    *error = "options were announced but not given";
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    if (keys[i] == nullptr || values[i] == nullptr) {
      *error = Format("option %zu has no name or no value", i);
      return false;
    }
    const std::string key = keys[i], value = values[i];
    if (key == "kernel") {
      if (!CheckKernel(value, error)) return false;
      options->kernel = value;
    } else if (key == "report_path") {
      if (!CheckReportPath(value, error)) return false;
      options->report_path = value;
    } else if (key == "verbose") {
      if (!ParseBool(value, &options->verbose)) {
        *error =
            Format("option verbose: expected 0 or 1, got \"%s\"", ShortName(value.c_str()).c_str());
        return false;
      }
    } else if (key == "claim") {
      if (value != "custom" && value != "builtin") {
        *error = Format("option claim: expected custom or builtin, got \"%s\"",
                        ShortName(value.c_str()).c_str());
        return false;
      }
      options->claim_builtin = value == "builtin";
    } else if (key == "threads") {
      if (!ParseThreads(value, &options->threads)) {
        *error = Format("option threads: expected 0 to %d, got \"%s\"", kMaxThreads,
                        ShortName(value.c_str()).c_str());
        return false;
      }
    } else {
      *error =
          Format("unknown option \"%s\"; there are claim, kernel, report_path, threads and verbose",
                 ShortName(key.c_str()).c_str());
      return false;
    }
  }
  return true;
}

}  // namespace accq
