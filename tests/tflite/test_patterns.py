import numpy as np
import pytest
import tflite_models as models
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.tflite.patterns import (
    clamp_of,
    compose,
    dense_as_conv,
    value_range,
)
from keras_accq.tflite.reader import load

RNG = np.random.default_rng(5)
INT8 = st.integers(-128, 127)
WEIGHTS = RNG.integers(-127, 128, (3, 8))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), INT8), max_size=6))
def test_the_range_of_a_chain_of_clamps_is_what_numpy_gives(chain):
    graph = models.GraphBuilder()
    x = t = graph.tensor("x", [1, 256], scale=0.1, zero_point=3)
    values = np.arange(-128, 128)
    for i, (is_maximum, limit) in enumerate(chain):
        constant = graph.tensor(f"c{i}", [1], scale=0.1, zero_point=3, data=np.int8([limit]))
        y = graph.tensor(f"y{i}", [1, 256], scale=0.1, zero_point=3)
        inputs = [t, constant] if i % 2 else [constant, t]
        graph.op(models.Op.MAXIMUM if is_maximum else models.Op.MINIMUM, inputs, [y])
        values = np.maximum(values, limit) if is_maximum else np.minimum(values, limit)
        t = y
    (subgraph,) = load(graph.build([x], [t])).subgraphs
    assert value_range(subgraph, t) == (values.min(), values.max())


@settings(deadline=None)
@given(INT8, INT8, INT8, INT8)
def test_compose(a, b, c, d):
    first, then = sorted((a, b)), sorted((c, d))
    values = np.arange(-128, 128)
    low, high = compose(tuple(first), tuple(then))
    np.testing.assert_array_equal(
        np.clip(np.clip(values, *first), *then), np.clip(values, low, high)
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"scale": 0.2},
        {"zero_point": 4},
        {"scale": None},
        {"data": None},
        {"shape": [2], "data": np.int8([1, 1])},
        {"shape": [1, 1, 1], "data": np.int8([[[1]]])},
    ],
)
def test_what_is_no_clamp(odd):
    graph = models.GraphBuilder()
    x = graph.tensor("x", [4, 2], scale=0.1, zero_point=3)
    limit = {"shape": [], "scale": 0.1, "zero_point": 3, "data": np.int8(1), **odd}
    constant = graph.tensor("limit", limit.pop("shape"), **limit)
    y = graph.tensor("y", [4, 2], scale=0.1, zero_point=3)
    graph.op(models.Op.MAXIMUM, [x, constant], [y])
    (subgraph,) = load(graph.build([x], [y])).subgraphs
    assert clamp_of(subgraph, subgraph.operators[0]) is None
    assert value_range(subgraph, y) == (-128, 127)


def dense(change=None, shape=(2, 8), target=None, **options):
    """The pattern's parts in a file, after `change(object-API model)`."""
    model = models.unpack(models.dense_as_conv(WEIGHTS, shape, **options))
    graph = model.subgraphs[0]
    if target is not None:
        shape_tensor = graph.tensors[graph.operators[2].inputs[1]]
        data = np.array(target, np.int32)
        shape_tensor.shape = np.array([data.size], np.int32)
        model.buffers[shape_tensor.buffer].data = np.frombuffer(data.tobytes(), np.uint8)
    if change is not None:
        change(graph)
    (subgraph,) = load(models.pack(model)).subgraphs
    (conv,) = (op for op in subgraph.operators if op.name == "CONV_2D")
    return dense_as_conv(subgraph, conv)


def test_dense_as_convolution():
    found = dense()
    assert (found.before.index, found.conv.index, found.after.index) == (0, 1, 2)
    assert not found.keep_num_dims


def test_a_changing_batch_needs_a_computed_number_of_rows():
    assert dense(shape_signature=[-1, 8], target=[-1, 3]) is not None
    assert dense(shape_signature=[-1, 8], target=[2, 3]) is None


def set_output(graph):
    graph.outputs = np.array([*graph.outputs, graph.operators[1].outputs[0]], np.int32)


def second_reader(graph):
    graph.operators[2].inputs = graph.operators[2].inputs.copy()
    extra = models.schema.OperatorT(opcodeIndex=0)
    extra.inputs = np.array([graph.operators[1].inputs[0]], np.int32)
    extra.outputs = np.array([], np.int32)
    graph.operators.append(extra)


def other_grid(graph):
    graph.tensors[graph.operators[0].outputs[0]].quantization.scale = np.float32([0.7])


def stride(graph):
    graph.operators[1].builtinOptions.strideW = 2


def computed_shape(graph):
    graph.tensors[graph.operators[2].inputs[1]].buffer = 0


def other_rows(graph):
    graph.tensors[graph.operators[2].outputs[0]].shape = np.array([1, 6], np.int32)


@pytest.mark.parametrize(
    "change", [set_output, second_reader, other_grid, stride, computed_shape, other_rows]
)
def test_what_is_no_dense_layer(change):
    assert dense(change) is None
