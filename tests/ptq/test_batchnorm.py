import keras
import keras_models
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.ptq.batchnorm import reestimate_batchnorm
from keras_accq.quantize import quantize

L = keras.layers
_IMAGES = keras_models.images(96)


def _model() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3), name="image")
    for i, layer in enumerate(
        (L.Conv2D(6, 3), L.DepthwiseConv2D(3, use_bias=False), L.Conv2D(4, 1))
    ):
        x = L.ReLU()(L.BatchNormalization(name=f"norm{i}", epsilon=1e-2)(layer(x)))
    return keras_models.randomized(keras.Model(inputs, L.Dense(3)(L.Flatten()(x))))


def _quantized(model: keras.Model) -> keras.Model:
    return quantize(model, weight_bits=3, input_bits=4, calibration_data=_IMAGES)


def _moments(model: keras.Model) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of what goes into each BatchNormalization."""
    graph = read(model)
    tensors = [graph.tensors[n.inputs[0]] for n in graph.nodes if n.name.startswith("norm")]
    outputs = keras.Model(model.input, tensors)(_IMAGES)
    rows = [np.asarray(y, np.float64).reshape(-1, y.shape[-1]) for y in outputs]
    return [(row.mean(axis=0), row.var(axis=0)) for row in rows]


def _statistics(model: keras.Model) -> list[tuple[np.ndarray, np.ndarray]]:
    layers = [model.get_layer(f"norm{i}") for i in range(3)]
    return [(np.asarray(n.moving_mean), np.asarray(n.moving_variance)) for n in layers]


def test_statistics_are_those_of_the_data() -> None:
    qmodel = _quantized(_model())
    reestimate_batchnorm(qmodel, [_IMAGES[:10], _IMAGES[10:]])
    for (mean, variance), (m, v) in zip(_moments(qmodel), _statistics(qmodel), strict=True):
        np.testing.assert_allclose(m, mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(v, variance, rtol=1e-4)


def test_with_the_float_model_only_the_change_counts() -> None:
    model = _model()
    # What the data say is far from what the float model holds, as from a training set.
    floats, held = _moments(model), _statistics(model)
    qmodel = _quantized(model)
    reestimate_batchnorm(qmodel, _IMAGES, model)
    now, set_to = _moments(qmodel), _statistics(qmodel)
    for i in range(3):
        np.testing.assert_allclose(
            set_to[i][0], held[i][0] + now[i][0] - floats[i][0], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(set_to[i][1], held[i][1] * now[i][1] / floats[i][1], rtol=1e-3)
        assert np.abs(set_to[i][0] - now[i][0]).max() > 0.05


def test_constant_channels_keep_their_variance() -> None:
    model = _model()
    conv = model.layers[1]
    kernel, bias = conv.get_weights()
    kernel[..., 0] = 0
    conv.set_weights([kernel, bias])
    qmodel = _quantized(model)
    reestimate_batchnorm(qmodel, _IMAGES, model)
    held = np.asarray(model.get_layer("norm0").moving_variance)[0]
    assert np.asarray(qmodel.get_layer("norm0").moving_variance)[0] == held
    assert all(np.isfinite(w).all() for w in qmodel.get_weights())


def test_a_model_without_batch_normalization_stays() -> None:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, L.Dense(3)(inputs))
    x = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    qmodel = quantize(model, calibration_data=x)
    before = qmodel.get_weights()
    reestimate_batchnorm(qmodel, x, model)
    for a, b in zip(before, qmodel.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_input() -> None:
    model = _model()
    qmodel = _quantized(model)
    with pytest.raises(ValueError, match="differs in norm0, norm1, norm2"):
        reestimate_batchnorm(qmodel, _IMAGES, keras_models.sequential())
    with pytest.raises(ValueError, match="turns out NaN"):
        reestimate_batchnorm(qmodel, np.full((4, 8, 8, 3), np.nan))
    with pytest.raises(ValueError, match="at least one batch"):
        reestimate_batchnorm(qmodel, [])
