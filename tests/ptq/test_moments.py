import keras
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.ptq.moments import channel_moments


def _moments(data):
    inputs = keras.Input((3, 2), name="x")
    graph = read(keras.Model(inputs, keras.layers.ReLU(name="relu")(inputs)))
    (tensor,) = (graph.tensors[node.output] for node in graph.nodes)
    return channel_moments(graph, [("relu", tensor)], data)[0]


def test_exact_over_batches_of_any_size() -> None:
    # Far from 0, where squares minus a squared mean would leave nothing.
    x = 1e4 + np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    expected = x.astype(np.float64).reshape(-1, 2)
    for cuts in ([], [1], [7, 8, 49]):
        moments = _moments(np.split(x, cuts))
        np.testing.assert_allclose(moments.mean, expected.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.variance, expected.var(axis=0), rtol=1e-9)


def test_bad_data() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        _moments([])
    with pytest.raises(ValueError, match="output of 'relu' turns out NaN or infinite"):
        _moments([np.full((2, 3, 2), np.inf, np.float32)])
