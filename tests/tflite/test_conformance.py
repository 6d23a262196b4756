"""What the converter must not have written, on small graphs built by hand."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_models import GraphBuilder, Op, add_conv2d

from keras_accq.errors import ConversionError
from keras_accq.quantizers.operands import Operands
from keras_accq.tflite.conformance import check_tensors, match, match_products
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.export import ExpectedOp, ExpectedProduct
from keras_accq.tflite.fold import Kernel
from keras_accq.tflite.reader import load

A, B = Grid(0.5, -8), Grid(0.25, 3)


def _tensor(graph: GraphBuilder, grid: Grid | None, name: str) -> int:
    if grid is None:
        return graph.tensor(name, (1, 4, 4, 2), dtype=np.float32)
    return graph.tensor(name, (1, 4, 4, 2), scale=grid.scale, zero_point=grid.zero_point)


def _chain(*steps: tuple[str, Grid | None], start: Grid | None) -> object:
    """Operators one behind the other, each with its output's grid (None: float32)."""
    graph = GraphBuilder()
    first = tensor = _tensor(graph, start, "input")
    for name, grid in steps:
        output = _tensor(graph, grid, f"{name.lower()}_out")
        graph.op(getattr(Op, name), [tensor], [output])
        tensor = output
    return load(graph.build([first], [tensor]))


def test_known_grids_pass() -> None:
    check_tensors(_chain(("RELU", B), start=A), {A, B})
    check_tensors(_chain(("QUANTIZE", A), ("RELU", B), ("DEQUANTIZE", None), start=None), {A, B})
    softmax = Grid(1 / 256, -128)
    check_tensors(_chain(("SOFTMAX", softmax), ("DEQUANTIZE", None), start=A), {A})


def test_a_quantize_between_integers_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"operator 0 \(QUANTIZE\).*no layer explains"):
        check_tensors(_chain(("QUANTIZE", B), ("RELU", B), start=A), {A, B})


def test_a_grid_of_nobody_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"operator 0 \(RELU\).*'relu_out'.*zero_point=4"):
        check_tensors(_chain(("RELU", Grid(0.25, 4)), start=A), {A, B})
    one_ulp_off = Grid(float(np.nextafter(np.float32(0.25), np.float32(1))), 3)
    with pytest.raises(ConversionError, match="no tensor's of the model"):
        check_tensors(_chain(("RELU", one_ulp_off), start=A), {A, B})
    with pytest.raises(ConversionError, match=r"operator 0 \(SOFTMAX\)"):
        check_tensors(_chain(("SOFTMAX", B), start=A), {A, B})


def test_float_inside_is_refused_except_where_allowed() -> None:
    inside = _chain(("DEQUANTIZE", None), ("RELU", None), ("QUANTIZE", B), start=A)
    with pytest.raises(ConversionError, match=r"operator 1 \(RELU\).*FLOAT32"):
        check_tensors(inside, {A, B})
    before = _chain(("NEG", None), ("QUANTIZE", B), start=None)
    with pytest.raises(ConversionError, match=r"operator 0 \(NEG\).*FLOAT32"):
        check_tensors(before, {B}, float_operators=("MUL",))
    check_tensors(before, {B}, float_operators=("NEG",))
    check_tensors(inside, {A, B}, islands={(0, 1)})


def _layer(name: str, q: np.ndarray, bias: np.ndarray) -> ExpectedOp:
    scales = np.linspace(0.01, 0.02, len(q), dtype=np.float32)
    keras_layout = np.moveaxis(q, 0, -1)
    kernel = Kernel(name, keras_layout, scales, (bias * scales * A.scale).astype(np.float32))
    return ExpectedOp(kernel, A, Operands(16, 4, 8))


def _file(*layers: tuple[np.ndarray, np.ndarray]) -> object:
    graph = GraphBuilder()
    x = first = graph.tensor("x", (1, 4, 4, 2), scale=A.scale, zero_point=A.zero_point)
    outputs = []
    for i, (q, bias) in enumerate(layers):
        outputs.append(
            add_conv2d(
                graph,
                x,
                q,
                bias=bias,
                weight_scale=np.linspace(0.01, 0.02, len(q), dtype=np.float32),
                output_scale=B.scale,
                output_zero=B.zero_point,
                name=f"conv{i}",
            )
        )
    return load(graph.build([first], outputs))


def test_layers_are_matched_by_content_whatever_their_order() -> None:
    random = np.random.default_rng(0)
    kernels = [random.integers(-7, 8, (3, 1, 1, 2), dtype=np.int8) for _ in range(2)]
    bias = np.array([5, -6, 7], np.int32)
    layers = [_layer(name, q, bias) for name, q in zip("ab", kernels, strict=True)]
    model = _file((kernels[1], bias), (kernels[0], bias))
    assert [(op.index, layer.name) for op, layer in match(model, layers)] == [(0, "b"), (1, "a")]
    # Two equal layers are two operators.
    twins = [_layer("a", kernels[0], bias), _layer("b", kernels[0], bias)]
    assert len(match(_file((kernels[0], bias), (kernels[0], bias)), twins)) == 2


def test_what_is_missing_or_too_much_is_named() -> None:
    random = np.random.default_rng(1)
    q = random.integers(-7, 8, (3, 1, 1, 2), dtype=np.int8)
    bias = np.array([5, -6, 7], np.int32)
    with pytest.raises(ConversionError, match="left out the dot products of layers 'a'"):
        match(_file((q, bias)), [_layer("b", q, bias), _layer("a", q, bias)])
    with pytest.raises(ConversionError, match=r"operator 1 .*computes no layer"):
        match(_file((q, bias), (q, bias)), [_layer("a", q, bias)])
    with pytest.raises(ConversionError, match=r"channel 1: expected the bias -6.0, came -5"):
        match(_file((q, bias + np.array([0, 1, 0]))), [_layer("a", q, bias)])


def _product(**options) -> object:
    graph = GraphBuilder()
    a, b = _tensor(graph, A, "a"), _tensor(graph, B, "b")
    y = _tensor(graph, B, "y")
    graph.op(Op.BATCH_MATMUL, [a, b], [y], options=schema.BatchMatMulOptionsT(**options))
    return load(graph.build([a, b], [y]))


def test_products_of_activations_are_matched_by_form_and_grids() -> None:
    layer = ExpectedProduct("scores", True, (A, B))
    ((op, found),) = match_products(_product(adjY=True), [layer])
    assert (op.index, found) == (0, layer)
    assert match(_product(adjY=True), []) == []


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        ({}, ExpectedProduct("scores", True, (A, B))),
        ({"adjX": True, "adjY": True}, ExpectedProduct("scores", True, (A, B))),
        ({"adjY": True}, ExpectedProduct("scores", True, (B, A))),
    ],
)
def test_other_products_of_activations_are_refused(options, layer) -> None:
    with pytest.raises(ConversionError, match=r"\(BATCH_MATMUL, 'y'\).*no product of two"):
        match_products(_product(**options), [layer])


def test_products_of_activations_that_are_not_there_are_named() -> None:
    missing = ExpectedProduct("scores", True, (A, B))
    with pytest.raises(ConversionError, match="left out the products of activations 'scores'"):
        match_products(_chain(("RELU", B), start=A), [missing])
