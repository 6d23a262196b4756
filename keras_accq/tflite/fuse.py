"""Built-in dot products become custom operators, with the clamps and reshapes around them."""

from dataclasses import dataclass

import numpy as np

from keras_accq.bounds import Partition
from keras_accq.errors import ConversionError
from keras_accq.tflite import options as blob
from keras_accq.tflite.edit import GraphEditor, operator_code
from keras_accq.tflite.flat import Table
from keras_accq.tflite.ops import CUSTOM_NAMES, QuantizedOp
from keras_accq.tflite.patterns import (
    INT8_RANGE,
    Clamp,
    clamp_of,
    compose,
    dense_as_conv,
    value_range,
)
from keras_accq.tflite.reader import Subgraph

_PADDINGS = {"SAME": blob.SAME, "VALID": blob.VALID}


@dataclass(frozen=True)
class Constraint:
    """What an operator is made for, beyond what its built-in can say.

    Attributes:
        acc_bits: Bits of the accumulator.
        partition: How its products are meant to be split; None claims nothing.
        in_min, in_max: The int8 range to which it clamps its input.
        out_min, out_max: The int8 range to which it clamps its output.
    """

    acc_bits: int = 16
    partition: Partition | None = None
    in_min: int = INT8_RANGE[0]
    in_max: int = INT8_RANGE[1]
    out_min: int = INT8_RANGE[0]
    out_max: int = INT8_RANGE[1]


class Fuser:
    """Turns operators of one subgraph into custom ones.

    Args:
        editor: The subgraph's editor.
        fixed: Whether operators must keep their numbers, so that none may be taken out.
    """

    def __init__(self, editor: GraphEditor, *, fixed: bool) -> None:
        self._editor = editor
        self._graph: Subgraph = editor.graph
        self._fixed = fixed
        self._bypassed: dict[int, Clamp] = {}
        self._values: list[tuple[Table, QuantizedOp, dict[str, int]]] = []

    def fuse(self, record: QuantizedOp, constraint: Constraint | None) -> str:
        """Replaces one operator; `finish` completes it.

        Returns:
            The built-ins that it stands for, in words.

        Raises:
            ConversionError: The constraint contradicts the operator.
        """
        editor, graph = self._editor, self._graph
        operator = graph.operators[record.index]
        table = editor.sequence[record.index][0]
        dense = None if self._fixed else dense_as_conv(graph, operator)
        source, output, weights = record.input, record.output, record.weights_tensor
        low, high = record.in_min, record.in_max
        kind, was, pads = record.kind, record.op, record.pads
        values = {
            "acc_bits": record.acc_bits,
            **blob.partition_options(record.partition),
            "activation": record.activation,
        }
        if dense is not None:
            source, output = dense.before.inputs[0], dense.after.outputs[0]
            low, high = value_range(graph, source)
            weights = self._reshaped_weights(weights)
            editor.remove(dense.before.index)
            editor.remove(dense.after.index)
            kind, was, pads = "fully_connected", "RESHAPE, CONV_2D, RESHAPE", False
            values |= {"keep_num_dims": int(dense.keep_num_dims), "form": blob.FORM_CONV}
        elif kind == "fully_connected":
            values |= {"keep_num_dims": int(record.keep_num_dims)}
        else:
            values |= {"padding": _PADDINGS[record.padding]}
            keys = ["stride_h", "stride_w"]
            if kind != "transpose_conv":
                keys += ["dilation_h", "dilation_w"]
            values |= {key: getattr(record, key) for key in keys}
        if kind == "depthwise_conv2d":
            values["depth_multiplier"] = record.depth_multiplier
        if not self._fixed:
            source = self._before_clamps(source, record.z_x if pads else None)
        if constraint is not None:
            low, high = compose((low, high), (constraint.in_min, constraint.in_max))
            if pads and not low <= record.z_x <= high:
                raise ConversionError(
                    f"{record}: its padding value, the zero point {record.z_x}, is outside the "
                    f"input range [{low}, {high}] asked for"
                )
            values |= {"acc_bits": constraint.acc_bits, "out_min": constraint.out_min}
            values |= {"out_max": constraint.out_max}
            values |= blob.partition_options(constraint.partition)
        values |= {"in_min": low, "in_max": high}
        operands = [source, weights, record.bias_tensor]
        if kind == "transpose_conv":
            operands = [record.shape_tensor, weights, source, record.bias_tensor]
        editor.set_inputs(table, operands)
        table["outputs"] = np.array([output], np.int32)
        self._values.append((table, record, values))
        code = CUSTOM_NAMES[kind]
        table["opcode_index"] = operator_code(editor.tree, code, blob.VERSION, custom=True)
        for key in ("builtin_options_type", "builtin_options"):
            table.pop(key, None)
        return was

    def finish(self) -> None:
        """Takes out what is no longer read, fuses output clamps, and writes the options."""
        for index in sorted(self._bypassed, reverse=True):
            if self._editor.uses(self._bypassed[index].op.outputs[0]) == 0:
                self._editor.remove(index)
        for table, record, values in self._values:
            if not self._fixed:
                self._take_output_clamps(table, values)
            name = self._editor.tree["operator_codes"][table["opcode_index"]]["custom_code"]
            content = blob.encode(name.decode(), values)
            table["custom_options"] = np.frombuffer(content, np.uint8)
            table["custom_options_format"] = 0  # FLEXBUFFERS, the only one there is.
            record.name = self._editor.name(int(table["outputs"][0]))

    def _reshaped_weights(self, weights: int) -> int:
        """The [units, 1, 1, features] weights as [units, features]."""
        editor = self._editor
        shape = editor.field(weights, "shape")
        quantization = editor.field(weights, "quantization")
        return editor.derive(
            weights,
            editor.name(weights),
            shape=shape[[0, 3]],
            shape_signature=None,
            buffer=editor.field(weights, "buffer"),
            # Of a single scale the dimension means nothing, but must exist.
            quantization=Table(quantization.of, **{**quantization, "quantized_dimension": 0}),
        )

    def _before_clamps(self, tensor: int, padding: int | None) -> int:
        """The tensor before one MAXIMUM and one MINIMUM that produce `tensor`.

        They stay where they would not let the padding value pass: padding comes after them, but
        inside the operator's own range.
        """
        graph = self._graph
        clamps: dict[str, Clamp] = {}
        before = tensor
        limits = INT8_RANGE
        while True:
            clamp = clamp_of(graph, graph.producers.get(before))
            if clamp is None or clamp.op.name in clamps or graph.tensors[clamp.input].is_variable:
                break
            clamps[clamp.op.name] = clamp
            limits = compose((clamp.low, clamp.high), limits)
            before = clamp.input
        if padding is not None and not limits[0] <= padding <= limits[1]:
            return tensor
        self._bypassed |= {clamp.op.index: clamp for clamp in clamps.values()}
        return before

    def _take_output_clamps(self, table: Table, values: dict[str, int]) -> None:
        """Moves one MAXIMUM and one MINIMUM that alone read the output into the operator."""
        editor, graph = self._editor, self._graph
        limits = values.get("out_min", INT8_RANGE[0]), values.get("out_max", INT8_RANGE[1])
        seen: set[str] = set()
        while True:
            output = int(table["outputs"][0])
            readers = [
                op for op in graph.consumers.get(output, []) if self._still_reads(op.index, output)
            ]
            if editor.uses(output) != 1 or len(readers) != 1:
                break
            clamp = clamp_of(graph, readers[0])
            if clamp is None or clamp.input != output or clamp.op.name in seen:
                break
            if graph.tensors[output].is_variable:
                break
            seen.add(clamp.op.name)
            limits = compose(limits, (clamp.low, clamp.high))
            editor.remove(clamp.op.index)
            table["outputs"] = np.array(clamp.op.outputs, np.int32)
        values["out_min"], values["out_max"] = limits

    def _still_reads(self, index: int, tensor: int) -> bool:
        return any(tensor in table["inputs"] for table in self._editor.sequence[index])
