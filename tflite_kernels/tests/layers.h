// The layers that kernels are tested with and, where they come from real networks, measured with.
#ifndef ACCQ_TESTS_LAYERS_H_
#define ACCQ_TESTS_LAYERS_H_

#include <vector>

#include "kernels/op.h"

namespace accq {

struct Layer {
  const char* name;
  OpKind kind;
  Shape4 input;
  int32_t out_channels;
  int32_t filter_h = 1, filter_w = 1;
  int32_t stride_h = 1, stride_w = 1;
  int32_t dilation_h = 1, dilation_w = 1;
  bool same_padding = false;
  int32_t groups = 1;
  int32_t out_h = 0, out_w = 0;  // transposed: 0 for the size that Keras would choose
};

// Layers of networks: ResNet-8 (MLPerf Tiny), All-CNN-C, MobileNetV1 at 96 x 96 and its smallest
// relative (visual wake words), an anomaly-detecting autoencoder, and what a U-Net grows images
// with.
inline const std::vector<Layer>& NetworkLayers() {
  constexpr OpKind kConv = OpKind::kConv2D;
  constexpr OpKind kDepthwise = OpKind::kDepthwiseConv2D;
  constexpr OpKind kFullyConnected = OpKind::kFullyConnected;
  constexpr OpKind kTransposed = OpKind::kTransposeConv;
  static const std::vector<Layer> layers = {
      {"conv3x3_96_96_32x32", kConv, {1, 32, 32, 96}, 96, 3, 3, 1, 1, 1, 1, true},
      {"resnet8_conv3x3_3_16_32x32", kConv, {1, 32, 32, 3}, 16, 3, 3, 1, 1, 1, 1, true},
      {"resnet8_conv3x3_16_16_32x32", kConv, {1, 32, 32, 16}, 16, 3, 3, 1, 1, 1, 1, true},
      {"resnet8_conv3x3s2_16_32_32x32", kConv, {1, 32, 32, 16}, 32, 3, 3, 2, 2, 1, 1, true},
      {"resnet8_conv3x3_32_32_16x16", kConv, {1, 16, 16, 32}, 32, 3, 3, 1, 1, 1, 1, true},
      {"resnet8_conv1x1s2_16_32_32x32", kConv, {1, 32, 32, 16}, 32, 1, 1, 2, 2, 1, 1, true},
      {"resnet8_conv3x3s2_32_64_16x16", kConv, {1, 16, 16, 32}, 64, 3, 3, 2, 2, 1, 1, true},
      {"resnet8_conv3x3_64_64_8x8", kConv, {1, 8, 8, 64}, 64, 3, 3, 1, 1, 1, 1, true},
      {"resnet8_fc_64_10", kFullyConnected, {1, 1, 1, 64}, 10},
      {"allcnn_conv1x1_192_192_6x6", kConv, {1, 6, 6, 192}, 192},
      {"mobilenet_conv1x1_64_128_24x24", kConv, {1, 24, 24, 64}, 128},
      {"mobilenet_dw3x3_8_48x48", kDepthwise, {1, 48, 48, 8}, 8, 3, 3, 1, 1, 1, 1, true},
      {"mobilenet_dw3x3_64_24x24", kDepthwise, {1, 24, 24, 64}, 64, 3, 3, 1, 1, 1, 1, true},
      {"mobilenet_dw3x3s2_128_12x12", kDepthwise, {1, 12, 12, 128}, 128, 3, 3, 2, 2, 1, 1, true},
      {"autoencoder_fc_640_128", kFullyConnected, {1, 1, 1, 640}, 128},
      {"fc_1024_1000", kFullyConnected, {1, 1, 1, 1024}, 1000},
      {"fc_512_512_batch16", kFullyConnected, {16, 1, 1, 512}, 512},
      {"unet_transposed2x2s2_64_32_16x16", kTransposed, {1, 16, 16, 64}, 32, 2, 2, 2, 2},
      {"unet_transposed3x3s2_64_32_16x16",
       kTransposed,
       {1, 16, 16, 64},
       32,
       3,
       3,
       2,
       2,
       1,
       1,
       true},
      {"gan_transposed4x4s2_128_64_8x8", kTransposed, {1, 8, 8, 128}, 64, 4, 4, 2, 2, 1, 1, true},
  };
  return layers;
}

// Small layers around the edges of tiles, blocks, runs and windows.
inline const std::vector<Layer>& CornerLayers() {
  constexpr OpKind kConv = OpKind::kConv2D;
  constexpr OpKind kDepthwise = OpKind::kDepthwiseConv2D;
  constexpr OpKind kFullyConnected = OpKind::kFullyConnected;
  constexpr OpKind kTransposed = OpKind::kTransposeConv;
  static const std::vector<Layer> layers = {
      {"one_product", kConv, {1, 1, 1, 1}, 1},
      {"three_products", kConv, {1, 1, 3, 1}, 2, 1, 3},
      {"five_products", kConv, {2, 3, 7, 5}, 17},
      {"seven_pixels", kConv, {1, 1, 7, 4}, 16},
      {"block_and_one", kConv, {1, 5, 5, 6}, 17, 3, 3, 1, 1, 1, 1, true},
      {"half_block", kConv, {1, 4, 5, 7}, 8, 2, 3},
      {"ten_channels", kConv, {1, 4, 5, 7}, 10, 3, 2, 1, 1, 1, 1, true},
      {"stride_2_odd", kConv, {2, 7, 9, 3}, 5, 3, 3, 2, 2, 1, 1, true},
      {"stride_over_filter", kConv, {1, 9, 10, 4}, 4, 1, 2, 3, 4, 1, 1, true},
      {"stride_3_2_valid", kConv, {1, 11, 8, 4}, 33, 3, 2, 3, 2},
      {"dilated", kConv, {1, 9, 11, 5}, 6, 3, 3, 1, 1, 2, 3, true},
      {"dilated_rows_only", kConv, {1, 9, 6, 5}, 6, 3, 2, 1, 1, 3, 1},
      {"filter_over_input", kConv, {1, 2, 3, 4}, 4, 5, 7, 1, 1, 1, 1, true},
      {"even_filter", kConv, {1, 6, 6, 8}, 16, 4, 4, 1, 1, 1, 1, true},
      {"window_is_input", kConv, {3, 3, 3, 8}, 16, 3, 3},
      {"single_rows_strided", kConv, {2, 7, 9, 5}, 3, 1, 3, 2, 2, 1, 1, true},
      {"single_columns_strided", kConv, {1, 8, 7, 12}, 4, 3, 1, 2, 3},
      {"single_pixels_strided", kConv, {2, 5, 8, 33}, 4, 1, 1, 2, 3, 1, 1, true},
      {"dw_single_pixels_strided", kDepthwise, {1, 5, 6, 9}, 9, 1, 1, 2, 3},
      {"groups_2", kConv, {1, 5, 6, 6}, 8, 3, 3, 1, 1, 1, 1, true, 2},
      {"groups_blocks", kConv, {1, 3, 4, 10}, 40, 3, 1, 1, 2, 1, 1, true, 2},
      {"groups_dilated", kConv, {1, 6, 6, 9}, 9, 2, 2, 1, 1, 2, 2, true, 3},
      {"groups_of_one", kConv, {1, 5, 5, 7}, 14, 3, 3, 1, 1, 1, 1, true, 7},
      {"many_chunks", kConv, {1, 14, 15, 4}, 20, 2, 2},
      {"several_strips", kConv, {1, 40, 40, 64}, 3, 3, 3, 1, 1, 1, 1, true},
      {"wide_rows", kConv, {1, 3, 700, 64}, 2, 3, 1, 1, 1, 1, 1, true},
      {"dw_1", kDepthwise, {1, 4, 4, 1}, 1, 3, 3, 1, 1, 1, 1, true},
      {"dw_15", kDepthwise, {1, 5, 4, 15}, 15, 3, 3, 1, 1, 1, 1, true},
      {"dw_16", kDepthwise, {2, 5, 4, 16}, 16, 3, 3, 1, 1, 1, 1, true},
      {"dw_7_strided", kDepthwise, {1, 6, 11, 7}, 7, 3, 3, 1, 2, 1, 1, true},
      {"dw_8", kDepthwise, {1, 5, 7, 8}, 8, 3, 3, 1, 1, 1, 1, true},
      {"dw_33", kDepthwise, {1, 5, 6, 33}, 33, 3, 3, 2, 2, 1, 1, true},
      {"dw_48_valid", kDepthwise, {1, 6, 6, 48}, 48, 2, 4, 1, 3},
      {"dw_dilated", kDepthwise, {1, 9, 9, 40}, 40, 3, 3, 1, 1, 3, 2, true},
      {"dw_1x1", kDepthwise, {1, 3, 3, 20}, 20},
      {"dw_5x5", kDepthwise, {1, 7, 7, 64}, 64, 5, 5, 1, 1, 1, 1, true},
      {"dw_multiplier_3", kDepthwise, {1, 5, 4, 6}, 18, 3, 3, 1, 1, 1, 1, true},
      {"fc_1_1", kFullyConnected, {1, 1, 1, 1}, 1},
      {"fc_7_3", kFullyConnected, {5, 1, 1, 7}, 3},
      {"fc_33_65", kFullyConnected, {1, 1, 1, 33}, 65},
      {"fc_batch_7", kFullyConnected, {7, 1, 1, 130}, 18},
      {"transposed_1", kTransposed, {1, 1, 1, 1}, 1},
      {"transposed_stride_1", kTransposed, {2, 4, 5, 3}, 5, 3, 3, 1, 1, 1, 1, true},
      {"transposed_stride_1_even", kTransposed, {1, 4, 5, 3}, 17, 2, 4, 1, 1, 1, 1, true},
      {"transposed_stride_1_valid", kTransposed, {1, 4, 5, 4}, 8, 3, 2},
      {"transposed_same", kTransposed, {2, 5, 4, 6}, 18, 3, 3, 2, 2, 1, 1, true},
      {"transposed_valid", kTransposed, {1, 5, 4, 6}, 18, 3, 3, 2, 2},
      {"transposed_5x4_s3x2", kTransposed, {1, 4, 6, 7}, 5, 5, 4, 3, 2, 1, 1, true},
      {"transposed_one_phase_empty", kTransposed, {2, 3, 4, 5}, 6, 1, 2, 2, 3},
      {"transposed_filter_is_stride", kTransposed, {1, 3, 4, 9}, 16, 3, 2, 3, 2},
      {"transposed_longer", kTransposed, {1, 3, 4, 5}, 6, 3, 2, 3, 4, 1, 1, false, 1, 11, 17},
      {"transposed_cut", kTransposed, {2, 3, 4, 5}, 6, 3, 5, 3, 4, 1, 1, true, 1, 7, 13},
      {"transposed_to_one_pixel", kTransposed, {1, 1, 1, 8}, 4, 5, 3, 3, 3, 1, 1, true, 1, 1, 1},
      {"transposed_passes_over_inputs",
       kTransposed,
       {1, 3, 2, 8},
       4,
       3,
       3,
       3,
       3,
       1,
       1,
       true,
       1,
       7,
       4},
      {"transposed_chunks", kTransposed, {1, 4, 110, 5}, 20, 3, 3, 2, 1},
      {"transposed_strips", kTransposed, {1, 50, 60, 64}, 3, 4, 3, 2, 3, 1, 1, true},
  };
  return layers;
}

}  // namespace accq

#endif  // ACCQ_TESTS_LAYERS_H_
