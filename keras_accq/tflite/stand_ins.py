"""Scales and biases that were hidden from the converter, which could not keep them, put in.

`emit.transposed_conv2d` writes all weight scales as 1, and every bias as the layer's number in the
order written, from 1 on. Of layers with equal integers, or calls of one layer, the exporter writes
all but the first with larger scales.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_accq.errors import ConversionError
from keras_accq.tflite.edit import GraphEditor, Sweeper
from keras_accq.tflite.export import ExpectedOp
from keras_accq.tflite.flat import Table, serialize
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import Model, load


def replace_stand_ins(model: Model, expected: Sequence[ExpectedOp]) -> Model:
    """The model with the scales and biases of all its layers.

    Args:
        model: As the converter wrote it.
        expected: What it was given, in order.

    Raises:
        ConversionError: A transposed convolution does not hold its stand-ins.
    """
    enlarged = [layer for layer in expected if layer.stand_in != 1]
    ops = [op for op in quantized_ops(model) if op.kind == "transpose_conv" or _find(op, enlarged)]
    if not ops:
        return model
    sweeper = Sweeper(model.tree)
    for graph in model.subgraphs:
        editor = GraphEditor(model.tree, graph)
        for op in (op for op in ops if op.subgraph == graph.index):
            if op.kind == "transpose_conv":
                _replace(editor, op, _layer_of(op, expected))
            else:
                _restore(editor, op, enlarged)
        editor.finish()
    sweeper.sweep()
    return load(serialize(model.tree, len(model.data)))


def _find(op: QuantizedOp, enlarged: Sequence[ExpectedOp]) -> ExpectedOp | None:
    """The layer that an operator with larger scales stands for."""
    if op.reason is not None:
        return None
    weights = op.weights()
    for layer in enlarged:
        scales = layer.kernel.scales * np.float32(layer.stand_in)
        if np.array_equal(op.s_w, scales) and np.array_equal(weights, layer.kernel.by_channel):
            return layer
    return None


def _restore(editor: GraphEditor, op: QuantizedOp, enlarged: Sequence[ExpectedOp]) -> None:
    layer = _find(op, enlarged)
    assert layer is not None
    inputs = list(editor.graph.operators[op.index].inputs)
    for place, unit in ((1, np.float32(1)), (2, np.float32(op.s_x))):
        if len(inputs) > place and inputs[place] >= 0:
            inputs[place] = _with_scales(editor, inputs[place], unit * layer.kernel.scales)
    (table,) = editor.sequence[op.index]
    editor.set_inputs(table, inputs)


def _with_scales(editor: GraphEditor, tensor: int, scales: NDArray[np.float32]) -> int:
    """A tensor of the same integers on other scales."""
    old = editor.field(tensor, "quantization")
    zeros = np.zeros(scales.size, np.int64)
    return editor.derive(
        tensor,
        editor.name(tensor),
        buffer=editor.field(tensor, "buffer"),
        quantization=Table(
            "QuantizationParameters",
            scale=scales,
            zero_point=zeros,
            quantized_dimension=old.get("quantized_dimension", 0),
        ),
    )


def _layer_of(op: QuantizedOp, expected: Sequence[ExpectedOp]) -> ExpectedOp:
    if op.reason is not None:
        raise ConversionError(f"{op}: {op.reason}")
    marks = set() if op.bias is None else set(op.bias.tolist())
    if len(marks) != 1 or not marks <= set(range(1, len(expected) + 1)) or (op.s_w != 1).any():
        raise ConversionError(
            f"{op}: expected weight scales of 1 and a layer's number, 1 to {len(expected)}, as the "
            f"bias, came the scales {sorted(set(op.s_w.tolist()))[:3]} and the biases "
            f"{sorted(marks)[:3]}"
        )
    return expected[marks.pop() - 1]


def _replace(editor: GraphEditor, op: QuantizedOp, layer: ExpectedOp) -> None:
    # New tensors: the converter lets layers of equal integers share one.
    scales = layer.kernel.scales
    zeros = np.zeros(scales.size, np.int64)
    weights = editor.derive(
        op.weights_tensor,
        f"{layer.name}/weights",
        buffer=editor.field(op.weights_tensor, "buffer"),
        quantization=Table(
            "QuantizationParameters", scale=scales, zero_point=zeros, quantized_dimension=0
        ),
    )
    units = scales.astype(np.float64) * op.s_x
    bias = editor.constant(
        f"{layer.name}/bias",
        np.rint(layer.kernel.bias.astype(np.float64) / units),
        scale=np.float32(op.s_x) * scales,
    )
    (table,) = editor.sequence[op.index]
    editor.set_inputs(table, [op.shape_tensor, weights, op.input, bias])
