"""Scales and biases of transposed convolutions, on files as the converter would write them."""

from dataclasses import replace

import numpy as np
import pytest
import tflite_models as models

from keras_accq.errors import ConversionError
from keras_accq.quantizers.operands import Operands
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.export import ExpectedOp
from keras_accq.tflite.fold import Kernel
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.tflite.stand_ins import replace_stand_ins

Q = np.random.default_rng(0).integers(-5, 6, (3, 2, 2, 2)).astype(np.int8)  # OHWI
GRID = Grid(0.5, -8)


def expected(name, scales, bias):
    kernel = Kernel(name, Q.transpose(1, 2, 3, 0), np.float32(scales), np.float32(bias))
    return ExpectedOp(kernel, GRID, Operands(16, 8, 8))


LAYERS = [
    expected("first", [0.5, 0.25, 2.0], [1, -1, 7]),
    expected("second", [1.0, 3.0, 0.125], [0, 0.3, -100]),
]


def written(marks, *, scale=1.0, shared=False):
    """Transposed convolutions side by side, of equal integers, with these biases."""
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 3, 3, 2], scale=GRID.scale, zero_point=GRID.zero_point)
    outputs = [
        models.add_transpose_conv(
            graph, x, Q, name=f"op{i}", bias=mark, weight_scale=scale, output_size=(3, 3)
        )
        for i, mark in enumerate(marks)
    ]
    if shared:
        for op in graph.subgraph.operators[1:]:
            op.inputs[1] = graph.subgraph.operators[0].inputs[1]
    return load(graph.build([x], outputs))


@pytest.mark.parametrize("shared", [False, True])
def test_scales_and_biases_go_to_the_operators_that_are_marked(shared):
    model = replace_stand_ins(written([[2] * 3, [1] * 3], shared=shared), LAYERS)
    for op, layer in zip(quantized_ops(model), reversed(LAYERS), strict=True):
        assert op.reason is None
        np.testing.assert_array_equal(op.weights(), Q.reshape(3, -1))
        np.testing.assert_array_equal(op.s_w, layer.kernel.scales)
        units = layer.kernel.bias / (layer.kernel.scales * 0.5)
        np.testing.assert_array_equal(op.bias, np.rint(units.astype(np.float64)))
    names = {tensor.name for tensor in model.subgraphs[0].tensors}
    assert "op0/weights" not in names
    assert {"first/weights", "first/bias", "second/weights", "second/bias"} <= names


def test_larger_scales_of_equal_layers_are_put_right():
    first = replace(LAYERS[1], kernel=replace(LAYERS[1].kernel, name="first"))
    second = replace(LAYERS[1], stand_in=4.0)
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 3, 3, 2], scale=GRID.scale, zero_point=GRID.zero_point)
    outputs = [
        models.add_conv2d(
            graph,
            x,
            Q,
            name=f"op{i}",
            bias=np.array([0, 3, 7]),
            weight_scale=layer.kernel.scales * layer.stand_in,
        )
        for i, layer in enumerate((second, first))
    ]
    model = replace_stand_ins(load(graph.build([x], outputs)), [first, second])
    for op in quantized_ops(model):
        assert op.reason is None
        np.testing.assert_array_equal(op.weights(), Q.reshape(3, -1))
        np.testing.assert_array_equal(op.s_w, LAYERS[1].kernel.scales)
        np.testing.assert_array_equal(op.bias, [0, 3, 7])
        scales = model.subgraphs[0].tensors[op.bias_tensor].quantization.scale
        np.testing.assert_array_equal(scales, op.s_w * np.float32(GRID.scale))


def test_other_files_stay_as_they_are():
    model = load(models.conv2d(Q, [1, 3, 3, 2]))
    assert replace_stand_ins(model, LAYERS) is model


@pytest.mark.parametrize(
    ("marks", "scale", "text"),
    [
        ([[1, 1, 2]], 1.0, r"1 to 2, as the bias, came .* the biases \[1, 2\]"),
        ([[0] * 3], 1.0, r"the biases \[0\]"),
        ([[3] * 3], 1.0, r"the biases \[3\]"),
        ([None], 1.0, r"the biases \[\]"),
        ([[1] * 3], 0.5, r"came the scales \[0.5\]"),
        ([[1] * 3], 1e-39, "denormal"),
    ],
)
def test_what_the_converter_changed_is_refused(marks, scale, text):
    with pytest.raises(ConversionError, match=rf"operator 0 \(TRANSPOSE_CONV, 'op0'\).*{text}"):
        replace_stand_ins(written(marks, scale=scale), LAYERS)
