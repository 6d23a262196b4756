import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.bounds import fits, worst_case
from keras_accq.quantizers.a2q import A2Q, integers
from keras_accq.quantizers.operands import Operands


def _quantize(v, norm, operands: Operands) -> np.ndarray:
    """Integers [channels, K], checked to be integers."""
    q = keras.ops.convert_to_numpy(
        integers(tf.constant(v, tf.float32), norm, operands, operands.radius)
    )
    assert (q == np.rint(q)).all()
    return q.T.astype(np.int64)


def _assert_fits(q: np.ndarray, operands: Operands) -> None:
    assert fits(q, *operands.input_range, operands.acc_bits, operands.partition).all()
    assert np.abs(q).max() <= operands.largest


def _plain(v: np.ndarray, norm: np.ndarray, operands: Operands) -> np.ndarray:
    """The formula of the paper in float64, cell by cell: [channels, K], before trunc and clip."""
    units = v.astype(np.float64) * norm / np.abs(v.astype(np.float64)).sum(axis=0)
    cells = operands.partition.cells(len(v))
    for cell in range(cells.max() + 1):
        rows = cells == cell
        norms = np.abs(units[rows]).sum(axis=0)
        units[rows] *= np.minimum(1, operands.radius / norms)
    return units.T


@pytest.mark.parametrize("tile", [None, 16, 50])
@pytest.mark.parametrize(("acc_bits", "input_bits", "weight_bits"), [(16, 8, 8), (12, 4, 5)])
def test_matches_the_formula(acc_bits, input_bits, weight_bits, tile) -> None:
    operands = Operands(acc_bits, input_bits, weight_bits, tile)
    rng = np.random.default_rng(0)
    v = rng.normal(size=(144, 20)).astype(np.float32)
    norm = rng.uniform(10, 3000, 20).astype(np.float32)
    units = _plain(v, norm, operands)
    expected = np.clip(np.trunc(units), -operands.largest, operands.largest)
    q = _quantize(v, norm, operands)
    # Where a value comes within a hair of an integer, float32 and the proof's margin decide.
    clear = np.abs(units - np.rint(units)) > 1e-4 + 2e-5 * np.abs(units)
    np.testing.assert_array_equal(q[clear], expected[clear])
    assert clear.mean() > 0.98
    _assert_fits(q, operands)


_WIDTHS = st.tuples(
    st.integers(9, 32), st.integers(2, 8), st.integers(2, 8), st.none() | st.integers(1, 70)
)


@settings(max_examples=150, deadline=None)
@given(_WIDTHS, st.integers(1, 300), st.integers(0, 2**32 - 1), st.floats(-120, 120))
def test_any_weights_fit(widths, k: int, seed: int, exponent: float) -> None:
    operands = Operands(*widths)
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(k, 8)) * 2.0**exponent
    # Heavy tails, equal values and many equal ones: where sums and quotients round badly.
    v[:, 2] = v[:, 2] ** 3
    v[:, 3] = 2.0**exponent
    v[:, 4] = 2.0**exponent / 3
    v[:, 5] = np.where(rng.random(k) < 0.9, 0, v[:, 5])
    v = np.clip(v, -1e35, 1e35).astype(np.float32)
    norm = (2.0 ** rng.uniform(-20, 40, 8)).astype(np.float32)
    _assert_fits(_quantize(v, norm, operands), operands)


def test_budget_is_met_exactly_where_rounding_could_pass_it() -> None:
    """Weights that are all integers with the full budget: T of them 1, or T/n of n."""
    operands = Operands(16, 8, 8)
    for count in (255, 85, 51, 17, 15, 5, 3):
        v = np.zeros((1000, 1), np.float32)
        v[:count] = 255 / count / 3
        q = _quantize(v, np.float32([1e9]), operands)
        _assert_fits(q, operands)
        assert np.abs(q).sum() == 255


def test_wide_sums_stay_within_the_proof() -> None:
    operands = Operands(24, 4, 8)
    rng = np.random.default_rng(1)
    v = np.abs(rng.normal(size=(200_000, 2))).astype(np.float32)
    v[:, 1] = np.float32(1 / 3)
    _assert_fits(_quantize(v, np.float32([1e9, 1e9]), operands), operands)


def test_one_more_than_the_radius_would_not_fit() -> None:
    """The check of these tests can fail."""
    q = np.zeros((1, 300), np.int64)
    q[0, :256] = 1
    assert worst_case(q, -128, 127)[0] > 32767


def test_extreme_weights() -> None:
    operands = Operands(16, 8, 8)
    tiny, huge = np.float32(1e-45), np.float32(3e38)
    v = np.array(
        [[0, tiny, huge, 1e-38, 1.0], [0, tiny, huge, 2.0**-126, 0.0], [0, 0, -huge, 1e-40, 0.0]],
        np.float32,
    )
    q = _quantize(v, np.full(5, 1e30, np.float32), operands)
    _assert_fits(q, operands)
    assert (q[0] == 0).all()
    assert (q[1] == 0).all()
    np.testing.assert_array_equal(q[4], [127, 0, 0])


def test_integers_survive_their_representation() -> None:
    """s·q in float32 is quantized to q again, for scales that are no powers of two."""
    operands = Operands(20, 8, 8)
    rng = np.random.default_rng(2)
    q = rng.integers(-127, 128, size=(300, 500))
    q = np.where(rng.random(q.shape) < 0.1, q, 0)
    scales = rng.uniform(1e-4, 1, 500)
    weights = (q * scales.astype(np.float32)).astype(np.float32)
    method = A2Q()
    v, parameters = method.initial(weights, scales, operands)
    again, _ = method.quantize(
        tf.constant(v), {name: tf.constant(p) for name, p in parameters.items()}, operands
    )
    np.testing.assert_array_equal(again.numpy(), q)


@pytest.mark.parametrize("tile", [None, 32])
def test_initial_weights_are_near_and_fit(tile) -> None:
    operands = Operands(16, 6, 6, tile)
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(100, 12))
    weights[:, 5] = 0
    scales = np.full(12, 0.15)
    method = A2Q()
    v, parameters = method.initial(weights, scales, operands)
    tensors = {name: tf.constant(p) for name, p in parameters.items()}
    q, s = method.quantize(tf.constant(v), tensors, operands)
    np.testing.assert_allclose(s, scales, rtol=1e-6)
    _assert_fits(q.numpy().T.astype(np.int64), operands)
    # Inside the ball the projection changes nothing, and trunc takes less than a unit.
    assert np.abs(q.numpy() * s.numpy() - weights).max() < 0.15 * 1.01
    assert (q.numpy()[:, 5] == 0).all()
    assert float(method.penalty(tf.constant(v), tensors, operands)) < 1e-4


def test_gradients() -> None:
    """Inside the budget v, s and g learn; beyond it g learns from the penalty alone."""
    operands = Operands(16, 8, 8)
    rng = np.random.default_rng(4)
    v = tf.Variable(rng.normal(size=(50, 3)).astype(np.float32))
    d = tf.Variable(np.full(3, -6, np.float32))
    t = tf.Variable(np.float32([0.5, 1.0, 9.0]))
    method = A2Q()
    with tf.GradientTape(persistent=True) as tape:
        parameters = {"log2_scale": d.value(), "log2_norm": t.value()}
        q, s = method.quantize(v.value(), parameters, operands)
        loss = tf.reduce_sum((q * s) * tf.constant(rng.normal(size=(50, 3)), tf.float32))
        penalty = method.penalty(v.value(), parameters, operands)
    for variable in (v, d):
        gradient = tape.gradient(loss, variable).numpy()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=0) > 0).all()
    of_norm = tape.gradient(loss, t).numpy()
    assert (of_norm[:2] != 0).all()
    assert of_norm[2] == 0
    of_penalty = tape.gradient(penalty, t).numpy()
    assert (of_penalty[:2] == 0).all()
    assert of_penalty[2] > 0


def test_clipped_weights_get_no_gradient() -> None:
    operands = Operands(32, 2, 3)
    v = tf.Variable([[100.0], [1.0], [-2.0]])
    with tf.GradientTape() as tape:
        q = integers(v.value(), tf.constant([103.0]), operands, operands.radius)
        # Weighted so that the gradient through the norm vanishes for the clipped weight.
        loss = tf.reduce_sum(q[0])
    np.testing.assert_array_equal(q.numpy()[:, 0], [3, 1, -2])
    np.testing.assert_array_equal(tape.gradient(loss, v).numpy(), 0)


def test_zero_channel_has_finite_zero_gradient() -> None:
    operands = Operands(16, 8, 8)
    v = tf.Variable(tf.zeros((5, 2)))
    with tf.GradientTape() as tape:
        q = integers(v.value(), tf.constant([1.0, 1.0]), operands, operands.radius)
        loss = tf.reduce_sum(q)
    np.testing.assert_array_equal(tape.gradient(loss, v).numpy(), 0)


def test_compiled_code_fits_too() -> None:
    """XLA sums and divides in its own ways."""
    operands = Operands(16, 5, 6, 48)
    rng = np.random.default_rng(5)
    v = tf.constant(rng.normal(size=(288, 64)), tf.float32)
    compiled = tf.function(lambda v, g: integers(v, g, operands, operands.radius), jit_compile=True)
    q = compiled(v, tf.fill([64], 1e6)).numpy().T.astype(np.int64)
    _assert_fits(q, operands)
    eager = integers(v, tf.fill([64], 1e6), operands, operands.radius).numpy().T
    assert np.abs(q - eager).max() <= 1
    assert (q != eager).mean() <= 1e-3


def test_config() -> None:
    method = A2Q(regularization=0.5)
    config = keras.saving.serialize_keras_object(method)
    assert keras.saving.deserialize_keras_object(config) == method
    assert method != A2Q()
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="regularization"):
            A2Q(regularization=bad)
