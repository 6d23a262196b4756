import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.bounds import ALL, Partition, fits
from keras_accq.quantizers.repair import Repair, round_and_repair


def _greedy(units, largest, input_range, acc_bits):
    """The description in the module's docstring, taken literally, for one row."""
    q = np.minimum(np.ceil(np.abs(units) - 0.5), largest)
    while not fits((np.sign(units) * q).astype(np.int64)[None], *input_range, acc_bits)[0]:
        cost = np.where(q > 0, 2 * (np.abs(units) - q) + 1, np.inf)
        q[cost.argmin()] -= 1
    return np.sign(units) * q


def _harm(q, units):
    return ((q - units) ** 2).sum(axis=-1)


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.sampled_from([(16, 8), (12, 8), (12, 4), (9, 8), (8, 2)]),
    st.integers(2, 8),
    st.floats(-2, 6),
)
def test_does_as_little_harm_as_lowering_one_by_one(seed, k, widths, weight_bits, octaves) -> None:
    acc_bits, input_bits = widths
    input_range = -(2 ** (input_bits - 1)), 2 ** (input_bits - 1) - 1
    largest = 2 ** (weight_bits - 1) - 1
    rng = np.random.default_rng(seed)
    units = rng.normal(size=(6, k)) * 2**octaves
    units[1] = np.abs(units[1])
    units[2] = np.rint(units[2])
    units[3] = np.rint(units[3]) + 0.5
    units[4] **= 3
    units[5] = units[5, 0]
    q = round_and_repair(units, largest, input_range, acc_bits)
    assert q.dtype == np.int64
    assert np.abs(q).max() <= largest
    assert fits(q, *input_range, acc_bits).all()
    for row, found in zip(units, q, strict=True):
        expected = _greedy(row, largest, input_range, acc_bits)
        # Ties apart, which may fall on positive or negative weights, they are the same.
        assert _harm(found, row) <= _harm(expected, row) * (1 + 1e-9) + 1e-9


def test_nothing_nearer_fits() -> None:
    """Against all integers, for a bound on the norm: inputs whose range is symmetric."""
    rng = np.random.default_rng(0)
    for units in rng.normal(size=(20, 3)) * 4:
        q = round_and_repair(units[None], 7, (-31, 31), 8)[0]
        every = np.array(list(itertools.product(range(-7, 8), repeat=3)))
        every = every[fits(every, -31, 31, 8)]
        assert _harm(q, units) == pytest.approx(_harm(every, units).min())


def test_weights_that_fit_are_only_rounded() -> None:
    units = np.array([[1.2, -2.7, 0.5, 3.5, -0.2]])
    np.testing.assert_array_equal(round_and_repair(units, 127, (-128, 127), 16), [[1, -3, 0, 3, 0]])


@pytest.mark.parametrize("partition", [ALL, Partition("runs", 7), Partition("lanes", 8)], ids=str)
def test_each_cell_has_a_budget_of_its_own(partition) -> None:
    units = np.random.default_rng(1).normal(size=(5, 50)) * 10
    q = round_and_repair(units, 127, (-128, 127), 12, partition)
    assert fits(q, -128, 127, 12, partition).all()
    cells = partition.cells(50)
    for cell in range(cells.max() + 1):
        at = cells == cell
        np.testing.assert_array_equal(
            q[:, at], round_and_repair(units[:, at], 127, (-128, 127), 12)
        )


def test_one_preparation_serves_many_scales() -> None:
    weights = np.random.default_rng(2).normal(size=(4, 30))
    repair = Repair(weights)
    for scale in (0.01, 0.1, 1.0):
        scales = np.array([scale, 2 * scale, 3 * scale, 4 * scale])
        np.testing.assert_array_equal(
            repair.integers(scales, 31, (-8, 7), 10),
            round_and_repair(weights / scales[:, None], 31, (-8, 7), 10),
        )
