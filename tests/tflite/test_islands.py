"""Which float operators of a file are layers of the model, on small graphs built by hand."""

import numpy as np
import pytest
from tflite_models import GraphBuilder, Op

from keras_accq.errors import ConversionError
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.in_float import InFloat
from keras_accq.tflite.islands import Island, match_islands
from keras_accq.tflite.reader import load

A, B = Grid(0.5, -8), Grid(0.25, 3)
BETA = np.array([1, 2], np.float32)


def _file(*, operators=("ADD", "NEG"), constant=BETA, after="QUANTIZE", copies=1):
    """Chains of DEQUANTIZE, float operators, the first with a constant, and QUANTIZE."""
    graph = GraphBuilder()

    def tensor(grid: Grid | None, name: str) -> int:
        if grid is None:
            return graph.tensor(name, (1, 2), dtype=np.float32)
        return graph.tensor(name, (1, 2), scale=grid.scale, zero_point=grid.zero_point)

    first = tensor(A, "x")
    values = tensor(None, "values")
    graph.op(Op.DEQUANTIZE, [first], [values])
    outputs = []
    for copy in range(copies):
        last = values
        read = [graph.tensor("c", (2,), dtype=np.float32, data=constant)]
        for name in operators:
            made = tensor(None, f"{name}_{copy}")
            graph.op(getattr(Op, name), [last, *read], [made])
            last, read = made, []
        outputs.append(tensor(B if after == "QUANTIZE" else None, f"y{copy}"))
        graph.op(getattr(Op, after), [last], [outputs[-1]])
    return load(graph.build([first], outputs))


def _island(name="layer", operators=("NEG", "ADD"), constants=(BETA,), grids=(A, B)) -> Island:
    return Island(name, InFloat(None, operators, constants), *grids)


def test_the_operators_of_a_layer_are_found() -> None:
    assert match_islands(_file(), [_island()]) == {(0, 1): "layer", (0, 2): "layer"}


def test_layers_that_are_alike_have_operators_of_their_own() -> None:
    found = match_islands(_file(copies=2), [_island("a"), _island("b")])
    assert found == {(0, 1): "a", (0, 2): "a", (0, 4): "b", (0, 5): "b"}


def test_operators_of_no_layer_are_left_to_others() -> None:
    assert match_islands(_file(), []) == {}
    assert match_islands(_file(copies=2), [_island()]) == {(0, 1): "layer", (0, 2): "layer"}


def test_layers_that_share_operators_are_both_found() -> None:
    graph = GraphBuilder()
    x = graph.tensor("x", (1, 2), scale=A.scale, zero_point=A.zero_point)
    values, shared = (graph.tensor(name, (1, 2), dtype=np.float32) for name in ("values", "shared"))
    graph.op(Op.DEQUANTIZE, [x], [values])
    graph.op(Op.NEG, [values], [shared])
    outputs = []
    for name in ("one", "other"):
        beta = graph.tensor("c", (2,), dtype=np.float32, data=BETA * len(name))
        made = graph.tensor(name, (1, 2), dtype=np.float32)
        graph.op(Op.ADD, [shared, beta], [made])
        outputs.append(graph.tensor("y", (1, 2), scale=B.scale, zero_point=B.zero_point))
        graph.op(Op.QUANTIZE, [made], [outputs[-1]])
    islands = [_island("one", constants=(BETA * 3,)), _island("other", constants=(BETA * 5,))]
    found = match_islands(load(graph.build([x], outputs)), islands)
    assert {index: found[0, index] for index in (2, 4)} == {2: "one", 4: "other"}
    assert (0, 1) in found


def test_one_operator_may_stand_for_equal_layers() -> None:
    assert set(match_islands(_file(), [_island("a"), _island("b")]).values()) == {"a"}


@pytest.mark.parametrize(
    "file",
    [
        {"operators": ("ADD", "ABS")},
        {"operators": ("ADD", "NEG", "NEG")},
        {"constant": np.array([1, 2.5], np.float32)},
        {"after": "RELU"},
    ],
)
def test_other_operators_or_constants_are_refused(file) -> None:
    with pytest.raises(ConversionError, match=r"'layer': expected the float operators NEG, ADD"):
        match_islands(_file(**file), [_island()])


@pytest.mark.parametrize("grids", [(B, B), (A, A)])
def test_other_grids_are_refused(grids) -> None:
    with pytest.raises(ConversionError, match="the file holds none such"):
        match_islands(_file(), [_island(grids=grids)])


def test_an_input_that_no_dequantize_made_is_refused() -> None:
    graph = GraphBuilder()
    x, y = (graph.tensor(name, (1, 2), dtype=np.float32) for name in "xy")
    graph.op(Op.NEG, [x], [y])
    z = graph.tensor("z", (1, 2), scale=B.scale, zero_point=B.zero_point)
    graph.op(Op.QUANTIZE, [y], [z])
    with pytest.raises(ConversionError, match="the file holds none such"):
        match_islands(load(graph.build([x], [z])), [_island(operators=("NEG",), constants=())])
