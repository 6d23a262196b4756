import keras
import keras_models
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.ptq.bias_correction import correct_biases
from keras_accq.quantize import quantize

L = keras.layers
_IMAGES = keras_models.images(96)


def _means(model: keras.Model, names: list[str]) -> list[np.ndarray]:
    """Mean per channel of what some layers put out."""
    graph = read(model)
    by_name = {node.name: graph.tensors[node.output] for node in graph.nodes}
    outputs = keras.Model(model.inputs, [by_name[name] for name in names])([_IMAGES])
    return [np.asarray(y).reshape(-1, y.shape[-1]).mean(axis=0) for y in outputs]


def _shift(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


def _quantized(model: keras.Model, **options) -> keras.Model:
    options = {"weight_bits": 3, "input_bits": 4, **options}
    return quantize(model, calibration_data=_IMAGES, input_range=(0, 255), **options)


def test_channels_get_the_means_of_the_float_model() -> None:
    model = keras_models.sequential()
    # The linear outputs, which a softmax or ReLU of the layer's own would hide.
    for name in ("conv2", "dense"):
        model.get_layer(name).activation = keras.activations.linear
    names = ["norm1", "conv2", "dense"]
    qmodel = _quantized(model)
    wanted, integers = _means(model, names), qmodel.get_layer("conv2").quantized_kernel()[0]
    before = _shift(_means(qmodel, names), wanted)
    correct_biases(qmodel, model, _IMAGES)
    after = _shift(_means(qmodel, names), wanted)
    assert before > 0.01
    assert after < 1e-4
    np.testing.assert_array_equal(qmodel.get_layer("conv2").quantized_kernel()[0], integers)


def test_the_activation_of_a_layer_is_left_out() -> None:
    """A channel that its ReLU silences entirely is corrected all the same."""
    inputs = keras.Input((2,), name="x")
    dense = L.Dense(2, activation="relu", name="dense")
    model = keras.Model(inputs, dense(inputs))
    dense.set_weights([np.array([[1.0, 0.3], [0.31, -1.0]]), np.array([0.0, -10.0])])
    x = np.random.default_rng(0).uniform(0, 1, (64, 2)).astype(np.float32)
    qmodel = quantize(model, weight_bits=2, input_bits=8, calibration_data=x)
    before = np.array(qmodel.get_layer("dense").bias)
    correct_biases(qmodel, model, x)
    integers, scale = qmodel.get_layer("dense").quantized_kernel()
    error = (x @ (np.asarray(dense.kernel) - integers * scale)).mean(axis=0)
    change = np.array(qmodel.get_layer("dense").bias) - before
    np.testing.assert_allclose(change, error, atol=2e-3)
    assert np.abs(error).max() > 0.02


def test_every_layer_type_and_layers_without_bias() -> None:
    model = keras_models.residual()
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 4)).astype(np.float32)
    qmodel = quantize(model, weight_bits=3, input_bits=4, calibration_data=x)
    loss = []
    for _ in range(2):
        expected, found = model(x), qmodel(x)
        loss.append(abs(float(np.mean(expected["logits"]) - np.mean(found["logits"]))))
        correct_biases(qmodel, model, x)
    assert loss[1] < 0.1 * loss[0]
    inputs = keras.Input((8,))
    bare = keras.Model(inputs, L.Dense(3, use_bias=False)(inputs))
    x = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    qmodel = quantize(bare, calibration_data=x)
    before = qmodel.get_weights()
    correct_biases(qmodel, bare, x)
    for a, b in zip(before, qmodel.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_input() -> None:
    model = keras_models.sequential()
    qmodel = _quantized(model)
    before = qmodel.get_weights()
    with pytest.raises(ValueError, match="no quantized layers"):
        correct_biases(model, model, _IMAGES)
    with pytest.raises(ValueError, match=r"layers .*stem.* differ"):
        correct_biases(qmodel, keras_models.residual(), _IMAGES)
    with pytest.raises(ValueError, match="turns out NaN"):
        correct_biases(qmodel, model, np.full((4, 8, 8, 3), np.nan))
    with pytest.raises(ValueError, match="expects shape"):
        correct_biases(qmodel, model, _IMAGES[..., :2])
    with pytest.raises(ValueError, match="at least one batch"):
        correct_biases(qmodel, model, [])
    with pytest.raises(TypeError, match="several times"):
        correct_biases(qmodel, model, iter([_IMAGES]))
    for a, b in zip(before, qmodel.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
