// A line of JSON about each prepared node, for benchmarks and for people.
#ifndef ACCQ_DELEGATE_REPORT_H_
#define ACCQ_DELEGATE_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "delegate/node_spec.h"
#include "kernels/op.h"

namespace accq {

// Multiply-accumulates of one inference.
double Macs(const OpSpec& spec, const std::vector<int32_t>& input_dims,
            const std::vector<int32_t>& output_dims);

// One JSON object, newline included: op, output (tensor name), node, input_shape, output_shape,
// kernel, steps, spills, extra_steps, int32_steps, packed_bytes (OpReport), scratch_bytes (of all
// threads), threads, macs.
std::string ReportLine(const NodeSpec& node, const std::vector<int32_t>& input_dims,
                       const std::vector<int32_t>& output_dims, const OpReport& report,
                       size_t scratch_bytes, int threads);

// Appends to a file in one write, so that lines of several interpreters do not mix.
bool AppendToFile(const std::string& path, const std::string& line, std::string* error);

}  // namespace accq

#endif  // ACCQ_DELEGATE_REPORT_H_
