import keras
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.graph.offsets import add_offset

L = keras.layers
_CHANGE = np.array([0.5, -1.0, 0.0, 2.0])
_NORM = {"epsilon": 1e-2, "moving_variance_initializer": keras.initializers.Constant(0.7)}


@pytest.mark.parametrize(
    "norm",
    [None, {}, {"center": False}, {"center": False, "scale": False}],
    ids=["bias", "beta", "mean", "mean without gamma"],
)
def test_the_output_moves_by_the_change(norm) -> None:
    layers = [keras.Input((5,)), L.Dense(4, name="dense", use_bias=norm is None)]
    if norm is not None:
        gamma = {} if "scale" in norm else {"gamma_initializer": keras.initializers.Constant(-3)}
        layers.append(L.BatchNormalization(**_NORM, **norm, **gamma))
    model = keras.Sequential(layers)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    before = model.predict(x, verbose=0)
    graph = read(model)
    node = graph.nodes[0]
    assert add_offset(node, graph.consumers()[node.output], _CHANGE)
    after = model.predict(x, verbose=0)
    np.testing.assert_allclose(after - before, np.tile(_CHANGE, (6, 1)), atol=1e-5)


def test_a_change_of_the_mean_is_nothing_to_training() -> None:
    norm = L.BatchNormalization(**_NORM)
    model = keras.Sequential([keras.Input((5,)), L.Dense(4, use_bias=False), norm])
    norm.gamma.assign([2.0, -3.0, 0.0, 1.0])
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    trained = model(x, training=True)  # which moves the statistics, too
    before = model.predict(x, verbose=0)
    graph = read(model)
    node = graph.nodes[0]
    change = np.array([0.5, -1.0, 0.25, 2.0])
    assert add_offset(node, graph.consumers()[node.output], change, to_mean=True)
    after = model.predict(x, verbose=0)
    np.testing.assert_allclose(after - before, np.tile(change, (6, 1)), atol=1e-5)
    # Only the channel that BatchNormalization silences needs its beta.
    np.testing.assert_allclose(norm.beta, [0, 0, 0.25, 0])
    moved = np.asarray(model(x, training=True)) - np.asarray(trained)
    np.testing.assert_allclose(moved, np.tile([0, 0, 0.25, 0], (6, 1)), atol=1e-5)


def test_a_layer_with_nothing_to_take_it() -> None:
    model = keras.Sequential([keras.Input((5,)), L.Dense(4, use_bias=False)])
    before = model.get_weights()
    graph = read(model)
    node = graph.nodes[0]
    assert not add_offset(node, graph.consumers()[node.output], _CHANGE)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
