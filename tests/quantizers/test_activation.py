import numpy as np
import pytest
import tensorflow as tf

from keras_accq.quantizers.activation import fake_quantize, fake_quantize_average
from keras_accq.quantizers.grids import grid


def test_bytes_of_an_image_are_kept_exactly() -> None:
    scale, zero_point = (np.float32(x) for x in grid(0.0, 255 / 255, 8))
    image = np.arange(256, dtype=np.float32) / np.float32(255)
    stored = fake_quantize(image, scale, zero_point, 8).numpy() / scale
    np.testing.assert_array_equal(np.rint(stored), np.arange(256))


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_values_are_the_nearest_stored_integers(bits: int) -> None:
    scale, zero_point = np.float32(0.1), np.float32(-(2 ** (bits - 1)))
    x = np.linspace(-20, 30, 2001, dtype=np.float32)
    stored = np.clip(np.round(x / scale) + zero_point, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    expected = ((stored - zero_point) * scale).astype(np.float32)
    np.testing.assert_array_equal(fake_quantize(x, scale, zero_point, bits).numpy(), expected)


def test_narrow_is_the_wide_value_clamped_on_the_same_grid() -> None:
    scale, zero_point = (np.float32(x) for x in grid(0.0, 1.5, 4))
    x = np.linspace(-3, 20, 997, dtype=np.float32)
    wide = fake_quantize(x, scale, zero_point, 8).numpy()
    narrow = fake_quantize(x, scale, zero_point, 4).numpy()
    np.testing.assert_array_equal(narrow, np.clip(wide, 0, np.float32(15) * scale))
    assert wide.max() > 1.5 * 8
    # Quantizing again changes nothing: what a second call of a shared quantizer relies on.
    np.testing.assert_array_equal(fake_quantize(wide, scale, zero_point, 8).numpy(), wide)
    np.testing.assert_array_equal(fake_quantize(wide, scale, zero_point, 4).numpy(), narrow)


def test_gradient_is_one_inside_and_zero_outside() -> None:
    x = tf.Variable([-1.0, 0.03, 0.77, 1.4, 2.0])
    with tf.GradientTape() as tape:
        y = fake_quantize(x.value(), tf.constant(0.1), tf.constant(-8.0), 4)
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), [0, 1, 1, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("zero_point", [-128, -8, 0, 3])
@pytest.mark.parametrize("count", [2, 4, 9])
def test_averages_round_halves_away_from_the_stored_zero(zero_point: int, count: int) -> None:
    """As TFLite's AVERAGE_POOL_2D does, in spite of sums made in float32."""
    stored = np.random.default_rng(0).integers(-128, 128, (count, 500))
    scale = np.float32(0.0371)
    average = (scale * (stored - zero_point).astype(np.float32)).mean(axis=0, dtype=np.float32)
    rounded = np.asarray(fake_quantize_average(average, scale, np.float32(zero_point), 8))
    sums = stored.sum(axis=0)
    expected = np.sign(sums) * ((2 * np.abs(sums) + count) // (2 * count))
    np.testing.assert_array_equal(np.rint(rounded / scale) + zero_point, expected)


def test_gradients_of_averages_pass_inside_the_range() -> None:
    x = tf.constant([-9.0, 0.3, 9.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fake_quantize_average(x, 0.5, 0.0, 4)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 0])
