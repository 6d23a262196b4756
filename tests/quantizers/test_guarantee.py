"""The guarantee of every method: whatever the float weights, the integers fit."""

import float_weights
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.bounds import accumulator_limit, fits, worst_case
from keras_accq.errors import BudgetError
from keras_accq.quantizers import methods
from keras_accq.quantizers.operands import Operands

_WIDTHS = st.tuples(
    st.integers(3, 32), st.integers(2, 8), st.integers(2, 8), st.none() | st.integers(1, 70)
)


def _operands(widths, depthwise, method, k):
    """The widths, with the narrowest accumulator that is allowed if they are too wide for P."""
    acc_bits, input_bits, weight_bits, tile = widths
    length = k if tile is None else min(tile, k)
    least = method.rounding(depthwise).least_acc_bits(input_bits, weight_bits, length)
    return Operands(max(acc_bits, least), input_bits, weight_bits, tile, depthwise)


def _integers(method, v, parameters, operands):
    tensors = {name: tf.constant(value) for name, value in parameters.items()}
    q = method.quantize(tf.constant(v), tensors, operands)[0].numpy()
    assert (q == np.rint(q)).all()
    return q.T.astype(np.int64)


def _assert_fits(q, operands):
    assert fits(q, *operands.input_range, operands.acc_bits, operands.partition).all()
    assert np.abs(q).max() <= operands.largest


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(methods.METHODS))
@settings(max_examples=60)
@given(float_weights.matrices(), _WIDTHS, st.booleans(), st.floats(-10, 10))
def test_initial_integers_fit(name, weights, widths, depthwise, octaves) -> None:
    method = methods.get(name)
    operands = _operands(widths, depthwise, method, len(weights))
    largest = np.abs(weights.astype(np.float64)).max(axis=0)
    scales = np.where(largest > 2.0**-90, largest, 1.0) * 2.0**octaves / operands.largest
    v, parameters = method.initial(weights.astype(np.float64), scales, operands)
    _assert_fits(_integers(method, v, parameters, operands), operands)


@pytest.mark.parametrize("name", sorted(methods.METHODS))
@settings(max_examples=60)
@given(float_weights.matrices(), _WIDTHS, st.booleans(), st.integers(0, 2**32 - 1))
def test_whatever_training_makes_of_the_variables_fits(name, v, widths, depthwise, seed) -> None:
    method = methods.get(name)
    operands = _operands(widths, depthwise, method, len(v))
    rng = np.random.default_rng(seed)
    channels = v.shape[1]
    parameters = {
        "log2_scale": rng.uniform(-30, 30, channels).astype(np.float32),
        "log2_norm": rng.uniform(-30, 60, channels).astype(np.float32),
    }
    used = {name: parameters[name] for name in method.parameters}
    _assert_fits(_integers(method, v, used, operands), operands)


def test_this_check_can_fail() -> None:
    q = np.zeros((1, 300), np.int64)
    q[0, :256] = 1
    with pytest.raises(AssertionError):
        _assert_fits(q, Operands(16, 8, 8))


def _most(name, acc_bits, input_bits):
    """The largest worst case and L1 norm that a method's integers reach, for large weights."""
    method = methods.get(name)
    operands = Operands(acc_bits, input_bits, 8)
    rng = np.random.default_rng(0)
    # Few enough for rounding toward zero to cost little, enough for clipping to cost nothing.
    count = max(16, int(2.5 * operands.radius / operands.largest))
    magnitudes = rng.uniform(0.5, 1.5, count)
    weights = np.zeros((8 * count, 2))
    weights[:count, 0] = magnitudes
    weights[: 2 * count, 1] = np.concatenate([magnitudes, -magnitudes])
    # Beyond the budget, by little.
    scales = np.abs(weights).sum(axis=0) / (1.4 * operands.radius)
    v, parameters = method.initial(weights, scales, operands)
    q = _integers(method, v, parameters, operands)
    return int(worst_case(q, *operands.input_range).max()), int(np.abs(q).sum(axis=1).max())


@pytest.mark.parametrize("input_bits", [2, 4, 8])
def test_how_much_of_the_budget_each_method_can_use(input_bits) -> None:
    """Not only safe: A2Q reaches its radius, A2Q+ more, rounding with repair all of it."""
    limit = accumulator_limit(16)
    unsigned, unsigned_norm = _most("a2q_unsigned", 16, input_bits)
    centred_inputs, norm = _most("a2q", 16, input_bits)
    _, plus_norm = _most("a2q+", 16, input_bits)
    repaired, repaired_norm = _most("round", 16, input_bits)
    assert 0.45 * limit < unsigned <= 0.5 * limit
    assert 0.9 * limit < centred_inputs <= limit
    assert norm <= limit / 2 ** (input_bits - 1)
    assert plus_norm > 1.9 * unsigned_norm
    # Only weights of both signs in balance may have more than A2Q's norm, by up to 2^N / (2^N - 1).
    assert plus_norm <= 2 * limit / (2**input_bits - 1)
    assert limit - 2 ** (input_bits - 1) < repaired <= limit
    assert repaired_norm >= norm


def test_one_more_than_the_radius_overflows() -> None:
    """A2Q+'s norm is not one that any weights may have: with one sign it passes the limit."""
    operands = Operands(16, 4, 8)
    _, norm = _most("a2q+", 16, 4)
    one_sided = np.zeros((1, 4096), np.int64)
    one_sided[0, :norm] = 1
    assert not fits(one_sided, *operands.input_range, 16)[0]


@pytest.mark.parametrize(
    ("name", "least"), [("a2q", 9), ("a2q+", 9), ("round", 9), ("axe", 9), ("a2q_unsigned", 10)]
)
def test_a_budget_below_one_is_an_error(name, least) -> None:
    method = methods.get(name)
    method.check(Operands(least, 8, 8), 100)
    with pytest.raises(BudgetError, match=f"acc_bits >= {least}"):
        method.rounding().check(least - 1, 8, 8, 100)


def test_type_bound_counts_products() -> None:
    method = methods.get("type_bound")
    # 2^7 · 2^7 · K <= 2^(P-1) - 1.
    method.check(Operands(16, 8, 8), 1)
    with pytest.raises(BudgetError, match=r"2 products.*acc_bits >= 17"):
        method.check(Operands(16, 8, 8), 2)
    method.check(Operands(16, 8, 8, 1), 2)
