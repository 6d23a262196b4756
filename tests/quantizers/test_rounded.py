import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.bounds import fits
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.repair import round_and_repair
from keras_accq.quantizers.round import Round
from keras_accq.quantizers.rounded import integers


def _fitting(rng, k, channels, operands, octaves):
    units = rng.normal(size=(channels, k)) * 2.0**octaves
    return round_and_repair(
        units, operands.largest, operands.input_range, operands.acc_bits, operands.partition
    ).T


def _quantized(method, v, parameters, operands):
    tensors = {name: tf.constant(value) for name, value in parameters.items()}
    q, s = method.quantize(tf.constant(v), tensors, operands)
    return q.numpy(), s.numpy()


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.integers(9, 32),
    st.integers(2, 8),
    st.integers(2, 8),
    st.none() | st.integers(1, 70),
    st.floats(-2, 10),
)
def test_holds_every_matrix_that_fits(seed, k, acc_bits, n, m, tile, octaves) -> None:
    operands = Operands(acc_bits, n, m, tile)
    rng = np.random.default_rng(seed)
    q = _fitting(rng, k, 8, operands, octaves)
    scales = 2.0 ** rng.uniform(-20, 10, 8)
    method = Round()
    held, s = _quantized(method, *method.holding(q, scales), operands)
    np.testing.assert_array_equal(held, q)
    np.testing.assert_allclose(s, scales, rtol=1e-5)


def test_weights_at_the_very_limit_are_held_and_one_more_is_not() -> None:
    operands = Operands(16, 8, 8)
    q = np.zeros((300, 2), np.int64)
    q[:255] = 1
    q[255, 1] = -1  # 128·255 + 127 <= 32767, which L1 <= 255 would not allow.
    method = Round()
    held, _ = _quantized(method, *method.holding(q, np.ones(2)), operands)
    np.testing.assert_array_equal(held, q)
    q[255, 0] = 1
    held, _ = _quantized(method, *method.holding(q, np.ones(2)), operands)
    assert fits(held.T.astype(np.int64), *operands.input_range, 16).all()
    assert (held[:, 0] != q[:, 0]).any()


def test_only_the_cells_that_do_not_fit_are_lowered() -> None:
    operands = Operands(12, 8, 8, tile=10)
    units = np.full((30, 1), 0.6, np.float32)
    units[10:20] = 3.7
    q = integers(tf.constant(units), operands).numpy()[:, 0]
    np.testing.assert_array_equal(q[:10], 1)
    np.testing.assert_array_equal(q[10:20], 1)  # 2 each would be 20 · 128 of 2047
    np.testing.assert_array_equal(q[20:], 1)


@pytest.mark.parametrize("tile", [None, 50])
def test_cells_that_do_not_fit_lose_as_little_as_in_numpy(tile) -> None:
    operands = Operands(12, 6, 7, tile=tile)
    rng = np.random.default_rng(0)
    units = (8 * rng.standard_normal((120, 9))).astype(np.float32)
    q = integers(tf.constant(units), operands).numpy().astype(np.int64)
    assert fits(q.T, *operands.input_range, 12, operands.partition).all()
    best = round_and_repair(
        units.T, operands.largest, operands.input_range, 12, operands.partition
    ).T
    assert (best != np.rint(np.clip(units, -63, 63))).any()
    # Of the last threshold's weights, which repair lowers one by one, all are lowered.
    assert (np.abs(best - q).sum(axis=0) <= 3).all()


def test_long_cells_whose_sums_float32_may_round_fit_too() -> None:
    operands = Operands(32, 2, 8)
    assert operands.radius < 2.0**30
    k = 300_000
    units = np.full((k, 1), 127.0, np.float32)
    units[::3] = -0.7
    q = integers(tf.constant(units), operands).numpy().T.astype(np.int64)
    assert fits(q, *operands.input_range, 32).all()
    assert (q == 127).mean() > 0.6


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_gradients_reach_weights_and_scales(scale) -> None:
    operands = Operands(14, 8, 8)
    rng = np.random.default_rng(0)
    v = tf.Variable((rng.normal(size=(40, 3)) * scale).astype(np.float32))
    d = tf.Variable(np.zeros(3, np.float32))
    with tf.GradientTape() as tape:
        q, s = Round().quantize(v.value(), {"log2_scale": d.value()}, operands)
        loss = tf.reduce_sum(q * s * tf.constant(rng.normal(size=(40, 3)), tf.float32))
    assert fits(q.numpy().T.astype(np.int64), *operands.input_range, 14).all()
    for gradient in tape.gradient(loss, [v, d]):
        assert np.isfinite(gradient.numpy()).all()
        assert (gradient.numpy() != 0).mean() > 0.5


def test_compiled_code_decides_the_same() -> None:
    operands = Operands(16, 5, 6, 48)
    q = _fitting(np.random.default_rng(5), 288, 64, operands, 5)
    compiled = tf.function(lambda u: integers(u, operands), jit_compile=True)
    np.testing.assert_array_equal(compiled(tf.constant(q, tf.float32)).numpy(), q)
