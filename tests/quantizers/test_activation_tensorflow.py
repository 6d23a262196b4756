"""The gradients written out, against what TensorFlow makes of the expressions in `keras.ops`."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_accq.bounds import operand_range
from keras_accq.quantizers.activation import fake_quantize, fake_quantize_average
from keras_accq.quantizers.straight_through import round_half_even


def generic(x, scale, zero_point, bits):
    smallest, largest = operand_range(bits)
    units = ops.clip(x / scale, smallest - zero_point, largest - zero_point)
    return round_half_even(units) * scale


def generic_average(x, scale, zero_point, bits):
    smallest, largest = operand_range(bits)
    stored = ops.clip(x / scale + zero_point, smallest, largest)
    rounded = ops.sign(stored) * ops.floor(ops.abs(stored) + (0.5 + 2.0**-10))
    return (stored + ops.stop_gradient(rounded - stored) - zero_point) * scale


PAIRS = [(fake_quantize, generic), (fake_quantize_average, generic_average)]
each_pair = pytest.mark.parametrize(("written_out", "expression"), PAIRS, ids=["plain", "average"])


def values(scale, zero_point, bits) -> np.ndarray:
    """Random ones, every integer and halfway point on the grid, and both ends' neighbours."""
    smallest, largest = operand_range(bits)
    rng = np.random.default_rng(0)
    halves = np.arange(2 * smallest - 9, 2 * largest + 10) / 2 - zero_point
    ends = np.float32([smallest - zero_point, largest - zero_point]) * scale
    return np.concatenate(
        [
            (rng.uniform(2.0 * smallest, 2.0 * largest, 4000) - zero_point) * scale,
            np.float32(halves) * scale,
            ends,
            np.nextafter(ends, np.float32(-np.inf)),
            np.nextafter(ends, np.float32(np.inf)),
            [0.0, 1e-30, -1e-30, 1e30, -1e30],
        ]
    ).astype(np.float32)


def gradients(function, x, scale, zero_point, bits, upstream):
    x, scale = tf.convert_to_tensor(x), tf.convert_to_tensor(scale)
    with tf.GradientTape() as tape:
        tape.watch([x, scale])
        y = function(x, scale, tf.convert_to_tensor(zero_point), bits)
    return y, *tape.gradient(y, [x, scale], upstream)


GRIDS = [(8, 0.0371, -128.0), (8, 1.0, 3.0), (5, 0.1, -16.0), (2, 0.25, 1.0)]


@each_pair
@pytest.mark.parametrize(("bits", "scale", "zero_point"), GRIDS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "xla"])
def test_values_and_gradients_are_equal(
    written_out, expression, bits, scale, zero_point, compiled
) -> None:
    scale, zero_point = np.float32(scale), np.float32(zero_point)
    x = values(scale, zero_point, bits)
    upstream = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    tensors = [tf.constant(value) for value in (x, scale, zero_point)]
    run = tf.function(gradients, jit_compile=True) if compiled else gradients
    found = run(written_out, *tensors, bits, tf.constant(upstream))
    wanted = run(expression, *tensors, bits, tf.constant(upstream))
    np.testing.assert_array_equal(found[0], wanted[0])
    # The expression multiplies by the scale and divides by it again.
    np.testing.assert_allclose(found[1], wanted[1], rtol=3e-7)
    assert np.isfinite(found[1]).all()
    assert {0.0} < {float(value) for value in np.array(found[1])}
    # Sums of thousands of terms of either sign, in different orders.
    size = float(np.abs(upstream).sum() * 2**bits)
    np.testing.assert_allclose(found[2], wanted[2], atol=1e-6 * size)
    assert abs(float(wanted[2])) > 1e-4 * size


@each_pair
def test_ends_of_the_range_are_inside(written_out, expression) -> None:
    x = np.float32([-1.0, 0.0, 15.0, np.nextafter(np.float32(15), np.float32(16))])
    for function in (written_out, expression):
        _, to_x, to_scale = gradients(
            function, x, np.float32(1), np.float32(-8), 4, np.ones(4, "f")
        )
        np.testing.assert_array_equal(to_x, [0, 1, 1, 0])
        assert float(to_scale) == 15


@each_pair
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "xla"])
def test_what_diverged_is_seen(written_out, expression, compiled) -> None:
    x = tf.constant([np.nan, np.inf, -np.inf] * 7)
    run = tf.function(written_out, jit_compile=True) if compiled else written_out
    found = run(x, tf.constant(0.5), tf.constant(0.0), 8)
    np.testing.assert_array_equal(found, expression(x, 0.5, 0.0, 8))
    assert np.isnan(found[0])


@each_pair
def test_gradients_have_gradients(written_out, expression) -> None:
    """As gradient penalties need them."""
    x = tf.constant([-9.0, 0.3, 0.4, 9.0])
    found = []
    for function in (written_out, expression):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x, tf.constant(0.5), tf.constant(0.0), 4) ** 2
            first = tape.gradient(y, x)
        found.append(outer.gradient(first, x))
    np.testing.assert_allclose(*found)
    assert float(found[0][1]) == 2


@each_pair
def test_a_saved_function_is_differentiated(written_out, expression, tmp_path) -> None:
    """A SavedModel that is loaded by TensorFlow alone can be trained further."""
    x, scale, zero_point = tf.constant([-9.0, 0.3, 9.0]), tf.constant(0.5), tf.constant(0.0)
    module = tf.Module()
    module.call = tf.function(
        lambda x: written_out(x, scale, zero_point, 4), input_signature=[tf.TensorSpec([None])]
    )
    tf.saved_model.save(module, str(tmp_path))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.saved_model.load(str(tmp_path)).call(x)
    np.testing.assert_array_equal(y, expression(x, scale, zero_point, 4))
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 0])
