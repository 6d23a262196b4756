"""Transposed convolutions as the converter leaves them, given their scales and biases.

`emit.transposed_conv2d` hides both from the converter, which could not keep them: all weight scales
are 1, and every bias is the layer's number in the order written, from 1 on.
"""

from collections.abc import Sequence

import numpy as np

from keras_accq.errors import ConversionError
from keras_accq.tflite.edit import GraphEditor, Sweeper
from keras_accq.tflite.export import ExpectedOp
from keras_accq.tflite.flat import Table, serialize
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import Model, load


def replace_stand_ins(model: Model, expected: Sequence[ExpectedOp]) -> Model:
    """The model with the scales and biases of its transposed convolutions.

    Args:
        model: As the converter wrote it.
        expected: What it was given, in order.

    Raises:
        ConversionError: A transposed convolution does not hold its stand-ins.
    """
    ops = [op for op in quantized_ops(model) if op.kind == "transpose_conv"]
    if not ops:
        return model
    sweeper = Sweeper(model.tree)
    for graph in model.subgraphs:
        editor = GraphEditor(model.tree, graph)
        for op in (op for op in ops if op.subgraph == graph.index):
            _replace(editor, op, _layer_of(op, expected))
        editor.finish()
    sweeper.sweep()
    return load(serialize(model.tree, len(model.data)))


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
