import keras
import keras_models
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.layers import QuantizedWeights
from keras_accq.loading import load_model
from keras_accq.quantize import quantize
from keras_accq.strip import strip


def _compute(model: keras.Model) -> list[QuantizedWeights]:
    return [layer for layer in model.layers if isinstance(layer, QuantizedWeights)]


def test_plain_layers_hold_the_quantized_weights() -> None:
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype(np.float32)
    model = keras_models.residual()
    qmodel = quantize(model, 14, calibration_data=x, exclude="stem")
    plain = strip(qmodel)
    assert all(type(layer).__module__.startswith("keras.src") for layer in plain.layers)
    assert [layer.name for layer in plain.layers] == [layer.name for layer in model.layers]
    for layer in _compute(qmodel):
        integers, scale = layer.quantized_kernel()
        expected = integers.reshape(-1, layer.channels).astype(np.float32) * scale
        kernel = np.asarray(plain.get_layer(layer.name).kernel)
        np.testing.assert_array_equal(kernel, expected.reshape(integers.shape))
    outputs, expected = plain.predict(x, verbose=0), qmodel.predict(x, verbose=0)
    for key in ("features", "logits"):
        assert np.abs(outputs[key] - expected[key]).max() < 0.1 * np.abs(expected[key]).max()


def test_transposed_kernels_come_back_in_their_own_layout(tmp_path) -> None:
    x = np.random.default_rng(2).normal(size=(8, 4, 5, 3)).astype(np.float32)
    inputs = keras.Input((4, 5, 3))
    y = keras.layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="up")(inputs)
    model = keras_models.randomized(keras.Model(inputs, y))
    qmodel = quantize(model, 14, calibration_data=x)
    qmodel.save(tmp_path / "quantized.keras")
    again = load_model(tmp_path / "quantized.keras")
    expected = qmodel.predict(x, verbose=0)
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
    plain = strip(again)
    integers, scale = qmodel.get_layer("up").quantized_kernel()
    kernel = keras.ops.convert_to_numpy(plain.get_layer("up").kernel)
    np.testing.assert_array_equal(kernel, integers.astype(np.float32) * scale[:, None])
    assert np.abs(plain.predict(x, verbose=0) - expected).max() < 0.05 * np.abs(expected).max()


def test_saves_and_loads_without_this_package(tmp_path) -> None:
    images = keras_models.images(8)
    plain = strip(quantize(keras_models.sequential(), calibration_data=images))
    plain.save(tmp_path / "plain.keras")
    with open(tmp_path / "plain.keras", "rb") as file:
        assert b"keras_accq" not in file.read()
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), plain.predict(images, verbose=0)
    )


def test_the_given_model_stays_as_it_is() -> None:
    images = keras_models.images(8)
    qmodel = quantize(keras_models.sequential(), calibration_data=images)
    before = qmodel.predict(images, verbose=0)
    plain = strip(qmodel)
    plain.set_weights([np.zeros_like(w) for w in plain.get_weights()])
    np.testing.assert_array_equal(qmodel.predict(images, verbose=0), before)


def test_models_without_quantized_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="'plain' has no quantized layers"):
        strip(keras_models.sequential())
    with pytest.raises(TypeError):
        strip(3)
    with pytest.raises(UnsupportedModelError):
        strip(keras.Sequential([keras.layers.Dense(3)]))


def test_weights_that_are_not_finite_are_refused() -> None:
    qmodel = quantize(keras_models.sequential(), input_range=(0, 255))
    layer = qmodel.get_layer("conv2")
    layer.set_weights([np.full_like(w, np.nan) for w in layer.get_weights()])
    with pytest.raises(ValueError, match="conv2: expected finite weights"):
        strip(qmodel)
