import numpy as np
import pytest
import tensorflow as tf

from keras_accq.bounds import fits
from keras_accq.quantizers.a2q import A2Q
from keras_accq.quantizers.a2q import integers as a2q_integers
from keras_accq.quantizers.a2q_plus import A2QPlus, centred, integers
from keras_accq.quantizers.operands import Operands


def _assert_fits(q: np.ndarray, operands: Operands) -> None:
    columns = q.T.astype(np.int64)
    assert fits(columns, *operands.input_range, operands.acc_bits, operands.partition).all()
    assert np.abs(columns).max() <= operands.largest


def _plain(v: np.ndarray, norm: np.ndarray, operands: Operands) -> np.ndarray:
    """The formula in float64, cell by cell, before trunc and clip."""
    units = v.astype(np.float64)
    cells = operands.partition.cells(len(v))
    for cell in range(cells.max() + 1):
        units[cells == cell] -= units[cells == cell].mean(axis=0)
    units *= norm / np.abs(units).sum(axis=0)
    most = (2.0**operands.acc_bits - 2) / (2**operands.input_bits - 1)
    for cell in range(cells.max() + 1):
        rows = cells == cell
        units[rows] *= np.minimum(1, most / np.abs(units[rows]).sum(axis=0))
    return units


@pytest.mark.parametrize("tile", [None, 16, 48])
@pytest.mark.parametrize(("acc_bits", "input_bits", "weight_bits"), [(16, 8, 8), (12, 4, 5)])
def test_matches_the_formula(acc_bits, input_bits, weight_bits, tile) -> None:
    operands = Operands(acc_bits, input_bits, weight_bits, tile)
    rng = np.random.default_rng(0)
    v = (rng.normal(size=(144, 20)) + 0.5).astype(np.float32)
    norm = rng.uniform(10, 3000, 20).astype(np.float32)
    units = _plain(v, norm, operands)
    q = integers(tf.constant(v), norm, operands).numpy()
    expected = np.clip(np.trunc(units), -operands.largest, operands.largest)
    clear = np.abs(units - np.rint(units)) > 1e-4 + 3e-5 * np.abs(units)
    np.testing.assert_array_equal(q[clear], expected[clear])
    assert clear.mean() > 0.98
    _assert_fits(q, operands)


def test_holds_more_of_balanced_weights_than_a2q() -> None:
    operands = Operands(16, 4, 8)
    rng = np.random.default_rng(1)
    v = tf.constant(rng.normal(size=(1000, 8)), tf.float32)
    norm = np.full(8, 1e9, np.float32)
    plus, plain = (
        np.abs(q.numpy()).sum()
        for q in (integers(v, norm, operands), a2q_integers(v, norm, operands, operands.radius))
    )
    assert plus > 1.06 * plain


def test_depthwise_and_short_cells_are_a2qs() -> None:
    rng = np.random.default_rng(2)
    norm = np.full(6, 300.0, np.float32)
    for k, depthwise in ((25, True), (15, False)):
        operands = Operands(16, 6, 8, None, depthwise)
        v = tf.constant(rng.normal(size=(k, 6)), tf.float32)
        expected = a2q_integers(v, norm, operands, operands.radius)
        np.testing.assert_array_equal(integers(v, norm, operands), expected)
    operands = Operands(12, 6, 8, 16)
    v = tf.constant(np.ones((35, 1)), tf.float32)
    c = centred(v, operands).numpy()[:, 0]
    np.testing.assert_array_equal(c, [0] * 32 + [1] * 3)
    q = integers(v, np.full(1, 60.0, np.float32), operands).numpy()
    np.testing.assert_array_equal(q[32:, 0], 20)
    _assert_fits(q, operands)


def test_a_mean_that_hides_the_weights_breaks_nothing() -> None:
    """float32 loses the balance of a channel far from zero; the proof does not need it."""
    operands = Operands(16, 4, 8)
    rng = np.random.default_rng(3)
    for offset in (1e3, 1e6, 1e8, -1e8, 3e37):
        v = (rng.normal(size=(700, 8)) + offset).astype(np.float32)
        v[0] *= 1.001
        q = integers(tf.constant(v), np.full(8, 1e9, np.float32), operands).numpy()
        assert np.isfinite(q).all()
        _assert_fits(q, operands)


@pytest.mark.parametrize("tile", [None, 32])
def test_initial_weights_are_near_and_fit(tile) -> None:
    operands = Operands(14, 5, 6, tile)
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(100, 12))
    weights[:, 5] = 0
    scales = np.full(12, 0.3)
    method = A2QPlus()
    v, parameters = method.initial(weights, scales, operands)
    tensors = {name: tf.constant(p) for name, p in parameters.items()}
    q, s = method.quantize(tf.constant(v), tensors, operands)
    _assert_fits(q.numpy(), operands)
    # Inside the budget the projection changes nothing, and trunc takes less than a unit.
    nearest = centred(tf.constant(weights, tf.float32), operands)
    assert np.abs(q.numpy() * s.numpy() - nearest).max() < 0.3 * 1.01
    assert (q.numpy()[:, 5] == 0).all()
    assert float(method.penalty(tf.constant(v), tensors, operands)) < 1e-4


def test_gradients() -> None:
    """As A2Q's, and none along a constant that is added to a channel."""
    operands = Operands(16, 8, 8)
    rng = np.random.default_rng(5)
    v = tf.Variable(rng.normal(size=(50, 3)).astype(np.float32))
    d = tf.Variable(np.full(3, -6, np.float32))
    t = tf.Variable(np.float32([0.5, 1.0, 9.0]))
    method = A2QPlus()
    with tf.GradientTape(persistent=True) as tape:
        parameters = {"log2_scale": d.value(), "log2_norm": t.value()}
        q, s = method.quantize(v.value(), parameters, operands)
        loss = tf.reduce_sum((q * s) * tf.constant(rng.normal(size=(50, 3)), tf.float32))
        penalty = method.penalty(v.value(), parameters, operands)
    of_weights = tape.gradient(loss, v).numpy()
    assert np.isfinite(of_weights).all()
    assert (np.abs(of_weights).max(axis=0) > 0).all()
    np.testing.assert_allclose(of_weights.sum(axis=0), 0, atol=1e-4)
    of_norm = tape.gradient(loss, t).numpy()
    assert (of_norm[:2] != 0).all()
    assert of_norm[2] == 0
    of_penalty = tape.gradient(penalty, t).numpy()
    assert (of_penalty[:2] == 0).all()
    assert of_penalty[2] > 0


def test_equal_weights_have_finite_gradients() -> None:
    v = tf.Variable(tf.ones((20, 2)))
    with tf.GradientTape() as tape:
        q = integers(v.value(), tf.constant([100.0, 100.0]), Operands(16, 8, 8))
        loss = tf.reduce_sum(q)
    assert np.isfinite(tape.gradient(loss, v).numpy()).all()


def test_compiled_code_fits_too() -> None:
    operands = Operands(16, 5, 6, 48)
    v = tf.constant(np.random.default_rng(6).normal(size=(288, 64)), tf.float32)
    compiled = tf.function(lambda v, g: integers(v, g, operands), jit_compile=True)
    q = compiled(v, tf.fill([64], 1e6)).numpy()
    _assert_fits(q, operands)
    eager = integers(v, tf.fill([64], 1e6), operands).numpy()
    assert np.abs(q - eager).max() <= 1
    assert (q != eager).mean() <= 1e-3


def test_is_not_a2q() -> None:
    assert A2QPlus() != A2Q()
    assert A2QPlus(0.5).get_config() == {"regularization": 0.5}
