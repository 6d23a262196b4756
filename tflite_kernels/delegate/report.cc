#include "delegate/report.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "delegate/text.h"

namespace accq {
namespace {

std::string JsonArray(const std::vector<int32_t>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += Format(i == 0 ? "%d" : ", %d", values[i]);
  return text + "]";
}

}  // namespace

// Every output element sums filter_h * filter_w * (input channels that it sees) products; in a
// transposed convolution, every input element is in as many products for each output channel, those
// at the cut included. In floating point, since the shape of a malformed file may overflow any
// integer.
double Macs(const OpSpec& spec, const std::vector<int32_t>& input_dims,
            const std::vector<int32_t>& output_dims) {
  if (spec.kind == OpKind::kTransposeConv) {
    double macs = 1.0 * spec.filter_h * spec.filter_w * spec.out_channels;
    for (const int32_t dim : input_dims) macs *= dim;
    return macs;
  }
  double macs = 1.0 * spec.filter_h * spec.filter_w;
  if (spec.kind != OpKind::kDepthwiseConv2D) macs *= spec.in_channels / spec.groups;
  for (const int32_t dim : output_dims) macs *= dim;
  return macs;
}

std::string ReportLine(const NodeSpec& node, const std::vector<int32_t>& input_dims,
                       const std::vector<int32_t>& output_dims, const OpReport& report,
                       size_t scratch_bytes, int threads) {
  return Format(
      "{\"op\": %s, \"output\": %s, \"node\": %d, \"input_shape\": %s, \"output_shape\": %s, "
      "\"kernel\": %s, \"steps\": %" PRId64 ", \"spills\": %" PRId64 ", \"extra_steps\": %" PRId64
      ", \"int32_steps\": %" PRId64 ", \"packed_bytes\": %" PRId64
      ", \"scratch_bytes\": %zu, \"threads\": %d, \"macs\": %.0f}\n",
      JsonString(node.op_name).c_str(), JsonString(node.output_name).c_str(), node.node,
      JsonArray(input_dims).c_str(), JsonArray(output_dims).c_str(),
      JsonString(report.kernel).c_str(), report.steps, report.spills, report.extra_steps,
      report.int32_steps, report.packed_bytes, scratch_bytes, threads,
      Macs(node.spec, input_dims, output_dims));
}

bool AppendToFile(const std::string& path, const std::string& line, std::string* error) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  bool written = false;
  if (file >= 0) {
    written = write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  }
  if (!written) {
    *error = Format("keras-accq: the report can not be written to \"%s\": %s",
                    Printable(path.c_str()).c_str(), strerror(errno));
  }
  if (file >= 0) close(file);
  return written;
}

}  // namespace accq
