"""Custom operators become the built-ins that they stand for."""

from collections.abc import Iterable, Sequence

import numpy as np

from keras_accq.tflite import options as blob
from keras_accq.tflite.edit import GraphEditor, add_buffer, make_operator, operator_code
from keras_accq.tflite.flat import Table
from keras_accq.tflite.ops import QuantizedOp
from keras_accq.tflite.patterns import INT8_RANGE, value_range
from keras_accq.tflite.schema import OPERATORS

_PADDINGS = {"SAME": blob.SAME, "VALID": blob.VALID}
# The operator versions in which stock TFLite took int8 tensors (its versioning/op_version.cc).
_CLAMP_VERSION = 2
_CONV_VERSION, _GROUPED_CONV_VERSION = 3, 6
_DEPTHWISE_VERSION = 3
_TRANSPOSE_VERSION, _TRANSPOSE_BIAS_VERSION, _TRANSPOSE_ACTIVATION_VERSION = 2, 3, 4
_DENSE_VERSION, _KEEP_DIMS_VERSION, _NO_BIAS_VERSION, _PER_CHANNEL_VERSION = 4, 5, 6, 12


def needs_more_operators(record: QuantizedOp) -> bool:
    """Whether more than one built-in stands for the operator."""
    ranges = (record.in_min, record.in_max), (record.out_min, record.out_max)
    return ranges != (INT8_RANGE, INT8_RANGE) or record.form == blob.FORM_CONV


class Lowerer:
    """Turns custom operators of one subgraph into built-ins.

    Args:
        editor: The subgraph's editor.
        records: The model's custom operators that can be taken.
    """

    def __init__(self, editor: GraphEditor, records: Iterable[QuantizedOp]) -> None:
        self._editor = editor
        self._output_ranges = {
            record.output: (record.out_min, record.out_max)
            for record in records
            if record.subgraph == editor.graph.index
        }
        self._clamped: dict[tuple[int, int, int], int] = {}

    def lower(self, record: QuantizedOp) -> tuple[str, str]:
        """Replaces one custom operator.

        Returns:
            The built-ins in words, and the name by which `quantized_ops` will know the result.
        """
        editor = self._editor
        (table,) = editor.sequence[record.index]
        before: list[Table] = []
        after: list[Table] = []
        source = self._clamped_input(record, before)
        output = self._unclamped_output(record, after)
        name = editor.name(output)
        for key in ("custom_options", "custom_options_format"):
            table.pop(key, None)
        if record.kind == "fully_connected":
            flattened = self._reshape_target(record)
            if flattened is None:
                self._dense(table, record, source, output)
            else:
                self._dense_as_conv(table, record, source, output, flattened, before, after)
        elif record.kind == "transpose_conv":
            self._transposed(table, record, source, output)
        else:
            self._window(table, record, source, output)
        editor.sequence[record.index] = [*before, table, *after]
        return ", ".join(self._names([*before, table, *after])), name

    def _names(self, operators: Sequence[Table]) -> list[str]:
        codes = self._editor.tree["operator_codes"]
        return [OPERATORS[codes[op["opcode_index"]]["builtin_code"]] for op in operators]

    def _clamp(self, source: int, outputs: Sequence[int], low: int, high: int) -> list[Table]:
        editor = self._editor
        operators = []
        for name, limit, output in zip(("MAXIMUM", "MINIMUM"), (low, high), outputs, strict=True):
            constant = editor.derive(
                source,
                f"{editor.name(output)}/limit",
                shape=np.empty(0, np.int32),
                shape_signature=None,
                buffer=add_buffer(editor.tree, np.int8(limit).tobytes()),
            )
            code = operator_code(editor.tree, name, _CLAMP_VERSION)
            options = Table("MaximumMinimumOptions")
            operators.append(make_operator(code, [source, constant], [output], options))
            source = output
        return operators

    def _clamped_input(self, record: QuantizedOp, before: list[Table]) -> int:
        low, high = record.in_min, record.in_max
        least, most = value_range(self._editor.graph, record.input, self._output_ranges)
        if low <= least and most <= high:
            return record.input
        key = (record.input, low, high)
        if key not in self._clamped:  # Operators with one range share one clamp.
            name = f"{self._editor.name(record.input)}/clamp"
            outputs = [
                self._editor.derive(record.input, f"{name}_{part}") for part in ("low", "high")
            ]
            before += self._clamp(record.input, outputs, low, high)
            self._clamped[key] = outputs[1]
        return self._clamped[key]

    def _unclamped_output(self, record: QuantizedOp, after: list[Table]) -> int:
        low, high = record.out_min, record.out_max
        if (low, high) == INT8_RANGE:
            return record.output
        editor = self._editor
        unclamped, middle = (
            editor.derive(record.output, f"{record.name}/{part}")
            for part in ("unclamped", "clamp_low")
        )
        after += self._clamp(unclamped, [middle, record.output], low, high)
        return unclamped

    def _window(self, table: Table, record: QuantizedOp, source: int, output: int) -> None:
        depthwise = record.kind == "depthwise_conv2d"
        options = Table(
            "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
            padding=_PADDINGS[record.padding],
            stride_w=record.stride_w,
            stride_h=record.stride_h,
            fused_activation_function=record.activation,
            dilation_w_factor=record.dilation_w,
            dilation_h_factor=record.dilation_h,
        )
        name, version = "CONV_2D", _CONV_VERSION
        if depthwise:
            options["depth_multiplier"] = record.depth_multiplier
            name, version = "DEPTHWISE_CONV_2D", _DEPTHWISE_VERSION
        elif record.groups > 1:
            version = _GROUPED_CONV_VERSION
        inputs = [source, record.weights_tensor, self._bias(record, output)]
        self._become(table, name, version, inputs, output, options)

    def _transposed(self, table: Table, record: QuantizedOp, source: int, output: int) -> None:
        options = Table(
            "TransposeConvOptions",
            padding=_PADDINGS[record.padding],
            stride_w=record.stride_w,
            stride_h=record.stride_h,
            fused_activation_function=record.activation,
        )
        inputs = [record.shape_tensor, record.weights_tensor, source]
        version = _TRANSPOSE_VERSION
        if record.bias is not None:
            inputs.append(record.bias_tensor)
            version = _TRANSPOSE_BIAS_VERSION
        if record.activation:
            version = _TRANSPOSE_ACTIVATION_VERSION
        self._become(table, "TRANSPOSE_CONV", version, inputs, output, options)

    def _bias(self, record: QuantizedOp, output: int) -> int:
        """The bias; stock int8 CONV_2D insists on one, DEPTHWISE_CONV_2D does not take a -1."""
        if record.bias is not None:
            return record.bias_tensor
        # As many scales as the weights have: XNNPACK fails to prepare a depthwise convolution
        # with one scale for its weights and several for its bias.
        weights = self._editor.field(record.weights_tensor, "quantization")["scale"]
        return self._editor.constant(
            f"{self._editor.name(output)}/bias",
            np.zeros(record.channels, np.int32),
            scale=np.float32(record.s_x) * weights,
        )

    def _dense(self, table: Table, record: QuantizedOp, source: int, output: int) -> None:
        options = Table(
            "FullyConnectedOptions",
            fused_activation_function=record.activation,
            keep_num_dims=record.keep_num_dims,
        )
        scales = self._editor.field(record.weights_tensor, "quantization")["scale"]
        version = _DENSE_VERSION
        if scales.size > 1:
            version = _PER_CHANNEL_VERSION
        elif record.bias is None:
            version = _NO_BIAS_VERSION
        elif record.keep_num_dims:
            version = _KEEP_DIMS_VERSION
        inputs = [source, record.weights_tensor, record.bias_tensor]
        self._become(table, "FULLY_CONNECTED", version, inputs, output, options)

    def _reshape_target(self, record: QuantizedOp) -> list[int] | None:
        """The shape to restore after a 1x1 convolution; None where FULLY_CONNECTED is to stand.

        RESHAPE can work out one dimension only: with more that change, FULLY_CONNECTED, which
        computes the same, takes the place.
        """
        if record.form != blob.FORM_CONV:
            return None
        if not record.keep_num_dims:
            return [-1, record.channels]
        y = self._editor.graph.tensors[record.output]
        return list(y.signature) if y.signature.count(-1) <= 1 else None

    def _dense_as_conv(
        self,
        table: Table,
        record: QuantizedOp,
        source: int,
        output: int,
        target: list[int],
        before: list[Table],
        after: list[Table],
    ) -> None:
        editor = self._editor
        units, features = record.weights().shape
        x = editor.graph.tensors[record.input]
        rows = x.elements // features
        changes = -1 in x.signature

        def pixels(like: int, name: str, channels: int) -> int:
            signature = np.array([-1, 1, 1, channels], np.int32) if changes else None
            shape = np.array([rows, 1, 1, channels], np.int32)
            return editor.derive(like, name, shape=shape, shape_signature=signature)

        name = editor.name(output)
        image = pixels(source, f"{name}/in_rows", features)
        result = pixels(output, f"{name}/rows", units)
        weights = editor.derive(
            record.weights_tensor,
            editor.name(record.weights_tensor),
            shape=np.array([units, 1, 1, features], np.int32),
            shape_signature=None,
            buffer=editor.field(record.weights_tensor, "buffer"),
        )
        before.append(self._reshape(source, image, [-1, 1, 1, features]))
        after.insert(0, self._reshape(result, output, target))
        options = Table(
            "Conv2DOptions",
            padding=blob.VALID,
            stride_w=1,
            stride_h=1,
            fused_activation_function=record.activation,
        )
        inputs = [image, weights, self._bias(record, result)]
        self._become(table, "CONV_2D", _CONV_VERSION, inputs, result, options)

    def _reshape(self, source: int, output: int, target: list[int]) -> Table:
        editor = self._editor
        shape = editor.constant(f"{editor.name(output)}/shape", np.array(target, np.int32))
        options = Table("ReshapeOptions", new_shape=np.array(target, np.int32))
        code = operator_code(editor.tree, "RESHAPE", 1)
        return make_operator(code, [source, shape], [output], options)

    def _become(
        self,
        table: Table,
        name: str,
        version: int,
        inputs: list[int],
        output: int,
        options: Table,
    ) -> None:
        code = operator_code(self._editor.tree, name, version)
        table.update(make_operator(code, inputs, [output], options))
