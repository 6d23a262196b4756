import keras
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.ptq.divergence import Divergence

L = keras.layers
_X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


def _model(*ends) -> keras.Model:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [end(inputs) for end in ends])
    for layer in model.layers[1:]:
        if layer.weights:
            layer.set_weights([np.eye(4, 3), np.zeros(3)])
    return model


def _shifted(model: keras.Model, by: float) -> keras.Model:
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign([by, 0, 0])
    return model


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64))
    return e / e.sum(axis=1, keepdims=True)


def test_relative_error_of_values_and_divergence_of_probabilities() -> None:
    both = L.Dense(3), L.Dense(3, activation="softmax")
    divergence = Divergence(read(_model(*both)), [_X[:15], _X[15:]])
    assert divergence.of(_model(L.Dense(3), L.Dense(3, activation="softmax"))) == 0
    other = _shifted(_model(L.Dense(3), L.Dense(3, activation="softmax")), 0.5)
    wanted = _X[:, :3].astype(np.float64)
    relative = 0.25 * 40 / np.square(wanted - wanted.mean(axis=0)).sum()
    p, q = _softmax(wanted), _softmax(wanted + np.array([0.5, 0, 0]))
    expected = relative + (p * np.log(p / q)).sum(axis=1).mean()
    assert divergence.of(other) == pytest.approx(expected, rel=1e-4)


def test_a_softmax_layer_counts_as_probabilities() -> None:
    inputs = keras.Input((4,))
    dense = L.Dense(3, name="d")
    model = keras.Model(inputs, L.Softmax()(dense(inputs)))
    dense.set_weights([np.eye(4, 3), np.zeros(3)])
    divergence = Divergence(read(model), [_X])
    # No probability of a sure model is so small that it would count for everything.
    assert divergence.of(_shifted(_model(L.Dense(3, activation="softmax")), 200.0)) < 30


def test_constant_and_broken_outputs() -> None:
    divergence = Divergence(read(_model(L.Dense(3))), [_X[:1]])
    assert divergence.of(_shifted(_model(L.Dense(3)), 0.5)) == pytest.approx(0.25)
    assert divergence.of(_shifted(_model(L.Dense(3)), np.nan)) == np.inf
    with pytest.raises(ValueError, match=r"output .* of the float model is NaN"):
        Divergence(read(_shifted(_model(L.Dense(3)), np.inf)), [_X])
    with pytest.raises(ValueError, match="at least one batch"):
        Divergence(read(_model(L.Dense(3))), [])
