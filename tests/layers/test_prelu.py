import keras
import numpy as np
import pytest

from keras_accq.layers import QuantizedPReLU


def _layer(alpha) -> QuantizedPReLU:
    layer = QuantizedPReLU()
    layer.build((None, len(alpha)))
    layer.alpha.assign(np.array(alpha, np.float32))
    return layer


def test_slopes_are_multiples_of_the_largest_by_127() -> None:
    layer = _layer([0.5, -0.25, 0.0019, 0.002])
    units = layer.quantized_alpha() * 127 / 0.5
    np.testing.assert_allclose(units, [127, -64, 0, 1], atol=1e-4)  # 63.5 is rounded to even
    x = np.array([[-2, -2, -2, 2]], np.float32)
    np.testing.assert_allclose(layer(x), np.maximum(x, 0) + layer.quantized_alpha() * x * (x < 0))


def test_zeros_and_gradients() -> None:
    assert not _layer([0.0, 0.0]).quantized_alpha().any()
    import tensorflow as tf

    layer = _layer([0.5, 0.1])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[-3.0, 2.0]])))
    np.testing.assert_allclose(tape.gradient(loss, layer.alpha), [-3, 0])


def test_slopes_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="finite slopes"):
        _layer([0.5, np.nan]).quantized_alpha()


def test_saves_and_loads(tmp_path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, _layer([0.3, 0.2, 0.1])(inputs))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    found, wanted = (m.layers[-1].quantized_alpha() for m in (loaded, model))
    np.testing.assert_array_equal(found, wanted)
