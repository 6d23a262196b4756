#include "kernels/testing_api.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "kernels/buffer.h"
#include "kernels/conv_layout.h"
#include "kernels/depthwise_layout.h"
#include "kernels/op.h"
#include "kernels/phases.h"
#include "kernels/schedule.h"

#define ACCQ_EXPORT __attribute__((visibility("default")))

namespace accq {
namespace {

OpSpec SpecOf(const AccqLayer& layer) {
  OpSpec spec;
  spec.kind = static_cast<OpKind>(layer.kind);
  spec.filter_h = layer.filter_h;
  spec.filter_w = layer.filter_w;
  spec.in_channels = layer.in_channels;
  spec.out_channels = layer.out_channels;
  spec.groups = layer.groups;
  spec.depth_multiplier = layer.depth_multiplier;
  spec.stride_h = layer.stride_h;
  spec.stride_w = layer.stride_w;
  spec.dilation_h = layer.dilation_h;
  spec.dilation_w = layer.dilation_w;
  spec.same_padding = layer.same_padding != 0;
  spec.weights = layer.weights;
  spec.bias = layer.bias;
  if (layer.multiplier != nullptr) {
    spec.multiplier.assign(layer.multiplier, layer.multiplier + std::max(0, layer.out_channels));
  }
  spec.in_zero = layer.in_zero;
  spec.out_zero = layer.out_zero;
  spec.in_min = layer.in_min;
  spec.in_max = layer.in_max;
  spec.out_min = layer.out_min;
  spec.out_max = layer.out_max;
  spec.out_h = layer.out_h;
  spec.out_w = layer.out_w;
  return spec;
}

Shape4 InputOf(const AccqLayer& layer) {
  return Shape4{layer.n, layer.h, layer.w, layer.in_channels};
}

int32_t Done(const std::string& error, char* text, size_t size) {
  if (error.empty()) return 0;
  if (size > 0) {
    const size_t length = std::min(size - 1, error.size());
    std::memcpy(text, error.data(), length);
    text[length] = '\0';
  }
  return 1;
}

std::string Run(const std::string& name, const OpSpec& spec, const Shape4& input, const int8_t* in,
                int8_t* out, int64_t* report) {
  std::string error;
  Shape4 output;
  if (!ValidateSpec(spec, &error) || !OutputShape(spec, input, &output, &error)) return error;
  const Kernel* kernel = ChooseKernel(spec, name, &error);
  if (kernel == nullptr) return error;
  const std::unique_ptr<PackedOp> op = kernel->create(spec, &error);
  if (op == nullptr) return error;
  Buffer<uint8_t> scratch;
  if (!scratch.Allocate(op->ScratchBytes(input))) return "no memory for the kernel's scratch";
  op->Run(input, in, out, scratch.data());
  const OpReport figures = op->Report();
  report[0] = figures.steps;
  report[1] = figures.spills;
  report[2] = figures.extra_steps;
  report[3] = figures.int32_steps;
  return "";
}

void AddFigures(const Schedule& schedule, int64_t* figures) {
  figures[0] += schedule.steps();
  figures[1] += schedule.spills();
  figures[2] += schedule.extra_steps();
}

std::string LayoutSpills(const std::string& layout, const OpSpec& spec, int64_t* figures) {
  if (spec.kind == OpKind::kTransposeConv) {
    for (int32_t h = 0; h < CountPhases(spec.filter_h, spec.stride_h); ++h) {
      for (int32_t w = 0; w < CountPhases(spec.filter_w, spec.stride_w); ++w) {
        Buffer<int8_t> weights;
        OpSpec phase;
        if (!PhaseSpec(spec, h, w, &weights, &phase)) return "no memory";
        const std::string error = LayoutSpills(layout, phase, figures);
        if (!error.empty()) return error;
      }
    }
    return "";
  }
  Buffer<Group> groups;
  Schedule schedule;
  if (layout == "avx2_k4n16") {
    Buffer<GroupPlace> places;
    for (size_t b = 0; b < CountConvBlocks(spec, kK4N16.channels); ++b) {
      Form form;
      if (!ConvGroups(spec, kK4N16, ChannelsOfBlock(spec, b, kK4N16.channels), &groups, &places) ||
          !BuildCheaperSchedule(spec, groups, &schedule, &form)) {
        return "no memory";
      }
      AddFigures(schedule, figures);
    }
  } else if (layout == "neon_dot8" || layout == "neon_dot16" || layout == "portable_dot8") {
    const bool bytes = layout == "neon_dot16";
    if (bytes && !FitsBytes(spec)) return "neon_dot16 does not take these weights and operands";
    const ConvLayout& packed = layout == "neon_dot8" ? kK16N4 : kK16N4Pairs;
    Buffer<GroupPlace> places;
    for (size_t b = 0; b < CountConvBlocks(spec, packed.channels); ++b) {
      const ConvChannels channels = ChannelsOfBlock(spec, b, packed.channels);
      if (!ConvGroups(spec, packed, channels, &groups, &places) ||
          !schedule.Build(groups.data(), groups.size(), spec,
                          bytes ? Form::kBytes : Form::kStored)) {
        return "no memory";
      }
      AddFigures(schedule, figures);
    }
  } else if (layout == "avx2_dw" || layout == "neon_dw") {
    const bool stored = layout == "neon_dw";
    for (int32_t first = 0; first < spec.out_channels; first += kLanes) {
      if (!DepthwiseGroups(spec, first, &groups) ||
          !schedule.Build(groups.data(), groups.size(), spec,
                          stored ? Form::kStored : Form::kShifted)) {
        return "no memory";
      }
      if (stored || Int16Pays(schedule, groups.size())) {
        AddFigures(schedule, figures);
      } else {
        figures[3] += groups.size();
      }
    }
  } else {
    return "expected the layout avx2_k4n16, avx2_dw, neon_dot8, neon_dot16, neon_dw or "
           "portable_dot8, came " +
           layout;
  }
  return "";
}

}  // namespace
}  // namespace accq

extern "C" {

ACCQ_EXPORT const char* accq_kernel_name(int32_t index) {
  const auto& table = accq::KernelTable();
  return index < 0 || static_cast<size_t>(index) >= table.size() ? nullptr : table[index]->name;
}

ACCQ_EXPORT int32_t accq_output_shape(const AccqLayer* layer, int32_t output[4], char* error,
                                      size_t error_size) {
  std::string text;
  accq::Shape4 shape;
  if (accq::OutputShape(accq::SpecOf(*layer), accq::InputOf(*layer), &shape, &text)) {
    output[0] = shape.n;
    output[1] = shape.h;
    output[2] = shape.w;
    output[3] = shape.c;
  }
  return accq::Done(text, error, error_size);
}

ACCQ_EXPORT int32_t accq_run(const char* kernel, const AccqLayer* layer, const int8_t* in,
                             int8_t* out, int64_t report[4], char* error, size_t error_size) {
  return accq::Done(accq::Run(kernel, accq::SpecOf(*layer), accq::InputOf(*layer), in, out, report),
                    error, error_size);
}

ACCQ_EXPORT int32_t accq_layout_spills(const char* layout, const AccqLayer* layer,
                                       int64_t figures[4], char* error, size_t error_size) {
  std::fill_n(figures, 4, 0);
  return accq::Done(accq::LayoutSpills(layout, accq::SpecOf(*layer), figures), error, error_size);
}

}  // extern "C"
