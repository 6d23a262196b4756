import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_accq.calibration import measure
from keras_accq.graph.groups import find
from keras_accq.graph.nodes import read

L = keras.layers


def _model() -> keras.Model:
    inputs = keras.Input((4,), name="x")
    layer = L.Dense(3, activation="relu", name="double", use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([2 * np.eye(4, 3)])
    return model


def _two_inputs() -> keras.Model:
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    return keras.Model([a, b], L.Dense(3, name="d")(L.Concatenate()([a, b])))


def _measure(model, data):
    graph = read(model)
    groups = find(graph)
    return {g.name: m for g, m in zip(groups, measure(graph, groups, data), strict=True)}


_X = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)


def _check(found) -> None:
    assert found["x"].low == _X.min()
    assert found["x"].high == _X.max()
    assert found["double"].low == 0
    assert found["double"].high == pytest.approx(2 * _X[:, :3].max())
    np.testing.assert_array_equal(np.sort(found["x"].samples), np.sort(_X.reshape(-1)))


@pytest.mark.parametrize(
    "data",
    [
        _X,
        _X.astype(np.float64),
        {"x": _X},
        [_X[:64], _X[64:]],
        [{"x": _X[:64]}, {"x": _X[64:]}],
        [(_X[:64], np.zeros(64)), (_X[64:], np.zeros(86))],
        (batch for batch in (_X[:1], _X[1:])),
        tf.constant(_X),
    ],
    ids=["array", "float64", "dict", "list", "dicts", "pairs", "generator", "tensor"],
)
def test_forms_of_data(data) -> None:
    _check(_measure(_model(), data))


@pytest.mark.parametrize("labelled", [True, False])
def test_datasets(labelled: bool) -> None:
    data = (_X, np.zeros(150)) if labelled else _X
    _check(_measure(_model(), tf.data.Dataset.from_tensor_slices(data).batch(40)))


def test_several_inputs() -> None:
    a, b = np.ones((5, 4)), np.full((5, 2), -3.0)
    for data in ([a, b], {"a": a, "b": b}, [({"b": b, "a": a}, 0)], iter([[a, b]])):
        found = _measure(_two_inputs(), data)
        assert (found["a"].low, found["a"].high) == (-3, 1)


def test_dict_inputs_by_key() -> None:
    a, b = keras.Input((4,), name="first"), keras.Input((2,), name="second")
    model = keras.Model({"q": a, "p": b}, L.Dense(3)(L.Concatenate()([a, b])))
    arrays = {"p": np.full((5, 2), -3.0), "q": np.ones((5, 4))}
    found = _measure(model, arrays)
    assert (found["first"].low, found["first"].high) == (-3, 1)


def test_large_data_is_sampled() -> None:
    x = np.random.default_rng(1).normal(size=(40_000, 4)).astype(np.float32)
    found = _measure(_model(), x)
    assert found["x"].samples.size <= 1 << 16
    assert found["x"].high == x.max()
    assert found["x"].samples.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ([], ValueError, "at least one batch"),
        (_X[:0], ValueError, "at least 1"),
        ([_X[:0]], ValueError, "at least one batch"),
        (np.zeros((5, 3)), ValueError, r"'x' expects shape \(None, 4\), received \(5, 3\)"),
        (np.zeros((5, 4, 1)), ValueError, r"received \(5, 4, 1\)"),
        ([_X, _X[:, :2]], ValueError, r"received \(150, 2\)"),
        (np.full((5, 4), np.nan), ValueError, "'x' of the float model is NaN or infinite"),
        (np.array([["a"] * 4]), ValueError, "expects numbers"),
        ({"y": _X}, ValueError, r"expected inputs \['x'\], received \['y'\]"),
        (3, TypeError, "received int"),
    ],
)
def test_bad_data_is_refused(data, error, text) -> None:
    with pytest.raises(error, match=text):
        _measure(_model(), data)


def test_inputs_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one number of examples"):
        _measure(_two_inputs(), [np.ones((5, 4)), np.ones((4, 2))])
    with pytest.raises(ValueError, match="expected 2 inputs, received 1"):
        _measure(_two_inputs(), np.ones((5, 4)))


def test_logits_are_measured_where_softmax_is_an_argument() -> None:
    model = _model()
    model.get_layer("double").activation = keras.activations.softmax
    found = _measure(model, _X)
    assert found["double"].low == pytest.approx(2 * _X[:, :3].min())
    assert found["double"].high == pytest.approx(2 * _X[:, :3].max())
    np.testing.assert_allclose(model(_X).numpy().sum(axis=1), 1, rtol=1e-5)


def test_the_model_stays_as_it_is() -> None:
    model = _model()
    before = len(model.get_layer("double")._inbound_nodes)
    _measure(model, _X)
    assert len(model.get_layer("double")._inbound_nodes) == before


def test_the_logits_of_a_softmax_layer_are_measured_not_its_probabilities() -> None:
    inputs = keras.Input((4,))
    layer = L.Dense(3, activation="softmax", name="probabilities")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([10 * np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32)])
    found = _measure(model, np.eye(4, dtype=np.float32))["probabilities"]
    assert (found.low, found.high) == (0.0, 10.0)
