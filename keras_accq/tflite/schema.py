"""The TFLite schema (version 3) as data: every table a `.tflite` file can hold.

A file's own bytes do not say what its tables mean, and the generated accessors of TFLite's
packages follow offsets unchecked and expand aliased parts. With the schema as data, `flat.py`
checks and rebuilds any part of any file with one short walk. Taken from the generated schema of
ai_edge_litert 2.3; a test holds the two equal.

A field is `name:kind`, in slot order. Kinds: a `struct` letter for a scalar, `s` a string, `[x` a
vector of scalars (`@n`: aligned to n bytes) or of tables, `|X` a union whose type is the field
before, and otherwise a table's name.
"""

import re
from typing import NamedTuple

_TABLES = """
Model(version:I, operator_codes:[OperatorCode, subgraphs:[SubGraph, description:s,
    buffers:[Buffer, metadata_buffer:[i, metadata:[Metadata, signature_defs:[SignatureDef,
    external_buffer_groups:[ExternalBufferGroup, external_buffers:[ExternalBuffer)
SubGraph(tensors:[Tensor, inputs:[i, outputs:[i, operators:[Operator, name:s,
    debug_metadata_index:i)
Tensor(shape:[i, type:b, buffer:I, name:s, quantization:QuantizationParameters, is_variable:?,
    sparsity:SparsityParameters, shape_signature:[i, has_rank:?,
    variant_tensors:[VariantSubType, external_buffer:I)
Buffer(data:[B@16, offset:Q, size:Q)
Operator(opcode_index:I, inputs:[i, outputs:[i, builtin_options_type:B,
    builtin_options:|BuiltinOptions, custom_options:[B, custom_options_format:b,
    mutating_variable_inputs:[?, intermediates:[i, large_custom_options_offset:Q,
    large_custom_options_size:Q, builtin_options2_type:B, builtin_options2:|BuiltinOptions2,
    debug_metadata_index:i)
OperatorCode(deprecated_builtin_code:b, custom_code:s, version:i, builtin_code:i)
QuantizationParameters(min:[f, max:[f, scale:[f, zero_point:[q, details_type:B,
    details:|QuantizationDetails, quantized_dimension:i)
Metadata(name:s, buffer:I)
SignatureDef(inputs:[TensorMap, outputs:[TensorMap, signature_key:s, deprecated_tag:s,
    subgraph_index:I)
TensorMap(name:s, tensor_index:I)
ATan2Options()
AbsOptions()
AddNOptions()
AddOptions(fused_activation_function:b, pot_scale_int16:?)
ArgMaxOptions(output_type:b)
ArgMinOptions(output_type:b)
AssignVariableOptions()
BatchMatMulOptions(adj_x:?, adj_y:?, asymmetric_quantize_inputs:?)
BatchToSpaceNDOptions()
BidirectionalSequenceLSTMOptions(fused_activation_function:b, cell_clip:f, proj_clip:f,
    merge_outputs:?, time_major:?, asymmetric_quantize_inputs:?)
BidirectionalSequenceRNNOptions(time_major:?, fused_activation_function:b, merge_outputs:?,
    asymmetric_quantize_inputs:?)
BitcastOptions()
BitwiseXorOptions()
BlockwiseQuantization(scales:i, zero_points:i, block_size:i, block_shape:[i)
BroadcastToOptions()
BucketizeOptions(boundaries:[f)
CallOnceOptions(init_subgraph_index:i)
CallOptions(subgraph:I)
CastOptions(in_data_type:b, out_data_type:b)
ConcatEmbeddingsOptions(num_channels:i, num_columns_per_channel:[i,
    embedding_dim_per_channel:[i)
ConcatenationOptions(axis:i, fused_activation_function:b)
Conv2DOptions(padding:b, stride_w:i, stride_h:i, fused_activation_function:b,
    dilation_w_factor:i, dilation_h_factor:i, quantized_bias_type:b)
Conv3DOptions(padding:b, stride_d:i, stride_w:i, stride_h:i, fused_activation_function:b,
    dilation_d_factor:i, dilation_w_factor:i, dilation_h_factor:i)
CosOptions()
CumsumOptions(exclusive:?, reverse:?)
CustomQuantization(custom:[B@16)
DensifyOptions()
DepthToSpaceOptions(block_size:i)
DepthwiseConv2DOptions(padding:b, stride_w:i, stride_h:i, depth_multiplier:i,
    fused_activation_function:b, dilation_w_factor:i, dilation_h_factor:i)
DequantizeOptions()
DilateOptions()
DimensionMetadata(format:b, dense_size:i, array_segments_type:B,
    array_segments:|SparseIndexVector, array_indices_type:B, array_indices:|SparseIndexVector)
DivOptions(fused_activation_function:b)
DynamicUpdateSliceOptions()
EmbeddingLookupSparseOptions(combiner:b)
EqualOptions()
ExpOptions()
ExpandDimsOptions()
ExternalBuffer(id:I, group:I, offset:Q, length:Q, packing:s)
ExternalBufferGroup(name:s)
FakeQuantOptions(min:f, max:f, num_bits:i, narrow_range:?)
FillOptions()
FloorDivOptions()
FloorModOptions()
FullyConnectedOptions(fused_activation_function:b, weights_format:b, keep_num_dims:?,
    asymmetric_quantize_inputs:?, quantized_bias_type:b, quant_spec:[B)
GatherNdOptions()
GatherOptions(axis:i, batch_dims:i)
GeluOptions(approximate:?)
GreaterEqualOptions()
GreaterOptions()
HardSwishOptions()
HashtableFindOptions()
HashtableImportOptions()
HashtableOptions(table_id:i, key_dtype:b, value_dtype:b)
HashtableSizeOptions()
IfOptions(then_subgraph_index:i, else_subgraph_index:i)
Int32Vector(values:[i)
L2NormOptions(fused_activation_function:b)
LSHProjectionOptions(type:b)
LSTMOptions(fused_activation_function:b, cell_clip:f, proj_clip:f, kernel_type:b,
    asymmetric_quantize_inputs:?)
LeakyReluOptions(alpha:f)
LessEqualOptions()
LessOptions()
LocalResponseNormalizationOptions(radius:i, bias:f, alpha:f, beta:f)
LogSoftmaxOptions()
LogicalAndOptions()
LogicalNotOptions()
LogicalOrOptions()
MatrixDiagOptions()
MatrixSetDiagOptions()
MaximumMinimumOptions()
MirrorPadOptions(mode:b)
MulOptions(fused_activation_function:b)
MultiAxisQuantization(scales:i, zero_points:i, block_size:i, quantized_dimensions:[i)
NegOptions()
NonMaxSuppressionV4Options()
NonMaxSuppressionV5Options()
NotEqualOptions()
OneHotOptions(axis:i)
PackOptions(values_count:i, axis:i)
PadOptions()
PadV2Options()
Pool2DOptions(padding:b, stride_w:i, stride_h:i, filter_width:i, filter_height:i,
    fused_activation_function:b)
PowOptions()
QuantizeOptions()
RNNOptions(fused_activation_function:b, asymmetric_quantize_inputs:?)
RandomOptions(seed:q, seed2:q)
RangeOptions()
RankOptions()
ReadVariableOptions()
ReduceWindowOptions(reduce_function:i)
ReducerOptions(keep_dims:?)
ReshapeOptions(new_shape:[i)
ResizeBilinearOptions(deprecated_new_height:i, deprecated_new_width:i, align_corners:?,
    half_pixel_centers:?)
ResizeNearestNeighborOptions(align_corners:?, half_pixel_centers:?)
ReverseSequenceOptions(seq_dim:i, batch_dim:i)
ReverseV2Options()
Rfft2dOptions()
RightShiftOptions()
SVDFOptions(rank:i, fused_activation_function:b, asymmetric_quantize_inputs:?)
ScatterNdOptions()
SegmentSumOptions()
SelectOptions()
SelectV2Options()
SequenceRNNOptions(time_major:?, fused_activation_function:b, asymmetric_quantize_inputs:?)
ShapeOptions(out_type:b)
SignOptions()
SkipGramOptions(ngram_size:i, max_skip_size:i, include_all_ngrams:?)
SliceOptions()
SoftmaxOptions(beta:f)
SpaceToBatchNDOptions()
SpaceToDepthOptions(block_size:i)
SparseToDenseOptions(validate_indices:?)
SparsityParameters(traversal_order:[i, block_map:[i, dim_metadata:[DimensionMetadata)
SplitOptions(num_splits:i)
SplitVOptions(num_splits:i)
SquareOptions()
SquaredDifferenceOptions()
SqueezeOptions(squeeze_dims:[i)
StableHLOCompositeOptions(name:s, decomposition_subgraph_index:i, composite_attributes:[B,
    composite_attributes_format:b, version:i)
StablehloBroadcastInDimOptions(broadcast_dimensions:[q)
StablehloCaseOptions(branch_subgraph_indices:[i)
StablehloCompareOptions(comparison_direction:I, compare_type:I)
StablehloConcatenateOptions(dimension:q)
StablehloConvolutionOptions(window_strides:[q, padding:[q, lhs_dilation:[q, rhs_dilation:[q,
    window_reversal:[?, input_batch_dimension:q, input_feature_dimension:q,
    input_spatial_dimensions:[q, kernel_input_feature_dimension:q,
    kernel_output_feature_dimension:q, kernel_spatial_dimensions:[q, output_batch_dimension:q,
    output_feature_dimension:q, output_spatial_dimensions:[q, feature_group_count:q,
    batch_group_count:q, precision_config:[I)
StablehloCustomCallOptions(call_target_name:s, has_side_effect:?, backend_config:s,
    api_version:i, called_computations:[i, custom_attributes:[B)
StablehloDotGeneralOptions(lhs_batching_dimensions:[q, rhs_batching_dimensions:[q,
    lhs_contracting_dimensions:[q, rhs_contracting_dimensions:[q, precision_config:[I)
StablehloDynamicSliceOptions(slice_sizes:[q)
StablehloGatherOptions(offset_dims:[q, collapsed_slice_dims:[q, start_index_map:[q,
    index_vector_dim:q, slice_sizes:[q, indices_are_sorted:?)
StablehloIotaOptions(iota_dimension:q)
StablehloPadOptions(edge_padding_low:[q, edge_padding_high:[q, interior_padding:[q)
StablehloReduceOptions(dimensions:[q, body_subgraph_index:i)
StablehloReduceWindowOptions(window_dimensions:[q, window_strides:[q, base_dilations:[q,
    window_dilations:[q, padding:[q, body_subgraph_index:i)
StablehloRngBitGeneratorOptions(algorithm:b)
StablehloScatterOptions(indices_are_sorted:?, update_window_dims:[q, inserted_window_dims:[q,
    scatter_dims_to_operand_dims:[q, index_vector_dim:q, unique_indices:?,
    update_computation_subgraph_index:i)
StablehloShiftLeftOptions()
StablehloSliceOptions(start_indices:[q, limit_indices:[q, strides:[q)
StablehloSortOptions(dimension:q, is_stable:?, comparator_subgraph_index:i)
StablehloTransposeOptions(permutation:[q)
StablehloWhileOptions(cond_subgraph_index:i, body_subgraph_index:i)
StridedSliceOptions(begin_mask:i, end_mask:i, ellipsis_mask:i, new_axis_mask:i,
    shrink_axis_mask:i, offset:?)
SubOptions(fused_activation_function:b, pot_scale_int16:?)
TileOptions()
TopKV2Options()
TransposeConvOptions(padding:b, stride_w:i, stride_h:i, fused_activation_function:b,
    quantized_bias_type:b)
TransposeOptions()
Uint16Vector(values:[H@4)
Uint8Vector(values:[B@4)
UnidirectionalSequenceLSTMOptions(fused_activation_function:b, cell_clip:f, proj_clip:f,
    time_major:?, asymmetric_quantize_inputs:?, diagonal_recurrent_tensors:?)
UniqueOptions(idx_out_type:b)
UnpackOptions(num:i, axis:i)
UnsortedSegmentMaxOptions()
UnsortedSegmentMinOptions()
UnsortedSegmentProdOptions()
UnsortedSegmentSumOptions()
VarHandleOptions(container:s, shared_name:s)
VariantSubType(shape:[i, type:b, has_rank:?)
WhereOptions()
WhileOptions(cond_subgraph_index:i, body_subgraph_index:i)
ZerosLikeOptions()
"""

_UNIONS = {
    "BuiltinOptions": """
NONE Conv2DOptions DepthwiseConv2DOptions ConcatEmbeddingsOptions LSHProjectionOptions
Pool2DOptions SVDFOptions RNNOptions FullyConnectedOptions SoftmaxOptions ConcatenationOptions
AddOptions L2NormOptions LocalResponseNormalizationOptions LSTMOptions ResizeBilinearOptions
CallOptions ReshapeOptions SkipGramOptions SpaceToDepthOptions EmbeddingLookupSparseOptions
MulOptions PadOptions GatherOptions BatchToSpaceNDOptions SpaceToBatchNDOptions TransposeOptions
ReducerOptions SubOptions DivOptions SqueezeOptions SequenceRNNOptions StridedSliceOptions
ExpOptions TopKV2Options SplitOptions LogSoftmaxOptions CastOptions DequantizeOptions
MaximumMinimumOptions ArgMaxOptions LessOptions NegOptions PadV2Options GreaterOptions
GreaterEqualOptions LessEqualOptions SelectOptions SliceOptions TransposeConvOptions
SparseToDenseOptions TileOptions ExpandDimsOptions EqualOptions NotEqualOptions ShapeOptions
PowOptions ArgMinOptions FakeQuantOptions PackOptions LogicalOrOptions OneHotOptions
LogicalAndOptions LogicalNotOptions UnpackOptions FloorDivOptions SquareOptions ZerosLikeOptions
FillOptions BidirectionalSequenceLSTMOptions BidirectionalSequenceRNNOptions
UnidirectionalSequenceLSTMOptions FloorModOptions RangeOptions ResizeNearestNeighborOptions
LeakyReluOptions SquaredDifferenceOptions MirrorPadOptions AbsOptions SplitVOptions
UniqueOptions ReverseV2Options AddNOptions GatherNdOptions CosOptions WhereOptions RankOptions
ReverseSequenceOptions MatrixDiagOptions QuantizeOptions MatrixSetDiagOptions HardSwishOptions
IfOptions WhileOptions DepthToSpaceOptions NonMaxSuppressionV4Options NonMaxSuppressionV5Options
ScatterNdOptions SelectV2Options DensifyOptions SegmentSumOptions BatchMatMulOptions
CumsumOptions CallOnceOptions BroadcastToOptions Rfft2dOptions Conv3DOptions HashtableOptions
HashtableFindOptions HashtableImportOptions HashtableSizeOptions VarHandleOptions
ReadVariableOptions AssignVariableOptions RandomOptions BucketizeOptions GeluOptions
DynamicUpdateSliceOptions UnsortedSegmentProdOptions UnsortedSegmentMaxOptions
UnsortedSegmentMinOptions UnsortedSegmentSumOptions ATan2Options SignOptions BitcastOptions
BitwiseXorOptions RightShiftOptions
""",
    "BuiltinOptions2": """
NONE StablehloConcatenateOptions StablehloBroadcastInDimOptions StablehloSliceOptions
StablehloConvolutionOptions StablehloCustomCallOptions StablehloReduceOptions
StablehloScatterOptions StablehloCompareOptions StablehloDynamicSliceOptions StablehloPadOptions
StablehloIotaOptions StablehloDotGeneralOptions StablehloReduceWindowOptions
StablehloSortOptions StablehloWhileOptions StablehloGatherOptions StablehloTransposeOptions
DilateOptions StablehloRngBitGeneratorOptions ReduceWindowOptions StableHLOCompositeOptions
StablehloShiftLeftOptions StablehloCaseOptions
""",
    "QuantizationDetails": "NONE CustomQuantization BlockwiseQuantization MultiAxisQuantization",
    "SparseIndexVector": "NONE Int32Vector Uint16Vector Uint8Vector",
}

_OPERATORS = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE
SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY
STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL
STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL
STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH
STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE
DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT
STABLEHLO_CBRT STABLEHLO_CASE
"""

_TENSOR_TYPES = """
FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64
RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2
"""


class Field(NamedTuple):
    """One field of a table.

    Attributes:
        name: Its name in the schema.
        kind: "scalar", "string", "vector" (of scalars), "table", "tables" or "union".
        of: The `struct` letter, or the name of the table or union.
        align: Bytes to which a vector's data is aligned.
    """

    name: str
    kind: str
    of: str
    align: int = 1


def _field(text: str) -> Field:
    name, kind = text.split(":")
    kind, _, align = kind.partition("@")
    vector = kind.startswith("[")
    of = kind.lstrip("[|")
    if kind.startswith("|"):
        return Field(name, "union", of)
    if kind == "s":
        return Field(name, "string", "s")
    if len(of) == 1:
        return Field(name, "vector" if vector else "scalar", of, int(align or 1))
    return Field(name, "tables" if vector else "table", of)


# Table name -> its fields; a field's slot is its place.
TABLES: dict[str, tuple[Field, ...]] = {
    name: tuple(_field(part) for part in fields.replace(",", " ").split())
    for name, fields in re.findall(r"(\w+)\((.*?)\)", _TABLES, re.DOTALL)
}
# Union name -> the table of each type number; 0 is "NONE".
UNIONS: dict[str, list[str]] = {name: text.split() for name, text in _UNIONS.items()}
# Names by number.
OPERATORS: list[str] = _OPERATORS.split()
TENSOR_TYPES: list[str] = _TENSOR_TYPES.split()
