"""Stepping through accumulators, against one product at a time in Python integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.accumulate import accumulate
from keras_accq.bounds import ALL, Partition, budget, worst_case


def step_by_step(x, q, acc_bits, partition, arithmetic):
    """One output, the slow way: (sum, whether it overflowed)."""
    low, high = -(1 << (acc_bits - 1)), (1 << (acc_bits - 1)) - 1
    cells = partition.cells(len(x)).tolist()
    accumulators, overflowed = dict.fromkeys(cells, 0), False
    for a, b, cell in zip(x.tolist(), q.tolist(), cells, strict=True):
        value = accumulators[cell] + a * b
        if not low <= value <= high:
            overflowed = True
            if arithmetic == "wrap":
                value = (value - low) % (1 << acc_bits) + low
            elif arithmetic == "saturate":
                value = min(max(value, low), high)
        accumulators[cell] = value
    return sum(accumulators.values()), overflowed


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(8, 17),
    st.sampled_from(["exact", "wrap", "saturate"]),
    st.sampled_from([ALL, Partition("runs", 3), Partition("lanes", 4)]),
)
def test_equals_one_product_at_a_time(seed, k, acc_bits, arithmetic, partition):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, 3, k)).astype(np.int8)
    q = rng.integers(-128, 128, (2, 2, k)).astype(np.int8)
    sums, overflowed = accumulate(x, q, acc_bits, partition, arithmetic)
    for index in np.ndindex(*sums.shape):
        g, p, c = index
        expected = step_by_step(x[g, p], q[g, c], acc_bits, partition, arithmetic)
        assert (sums[index], overflowed[index]) == expected


def test_an_order_in_which_wrapping_and_saturating_differ():
    # 8 bits: 100 + 100 leaves the range on the way, -150 brings the true sum back into it.
    x, q = np.array([[[1, 1, 1, 1]]], np.int8), np.array([[[100, 100, -75, -75]]], np.int8)
    results = {a: accumulate(x, q, 8, ALL, a) for a in ("exact", "wrap", "saturate")}
    assert {a: int(sums.item()) for a, (sums, _) in results.items()} == {
        "exact": 50,
        "wrap": 50,
        "saturate": 127 - 150,
    }
    assert all(overflowed.all() for _, overflowed in results.values())
    # Another order of the same products never leaves the range: nothing to saturate.
    sums, overflowed = accumulate(x, q[..., [0, 2, 1, 3]], 8, ALL, "saturate")
    assert sums.item() == 50
    assert not overflowed.any()


def test_a_full_budget_reaches_the_end_and_one_more_unit_leaves_it():
    norm = budget(16, -127, 127)  # 258: 258 * 127 = 32766
    q = np.array([[[127, 127, norm - 254, 0]]], np.int8)
    x = np.full((1, 1, 4), 127, np.int8)
    assert worst_case(q[0], -127, 127)[0] == 32766
    sums, overflowed = accumulate(x, q, 16, ALL, "wrap")
    assert sums.item() == 32766
    assert not overflowed.any()
    # Two more: 32768, one beyond 32767.
    q[..., 3], x[..., 3] = 1, 2
    sums, overflowed = accumulate(x, q, 16, ALL, "wrap")
    assert sums.item() == -32768
    assert overflowed.all()
    assert accumulate(x, q, 16, ALL, "saturate")[0].item() == 32767


def test_the_negative_end_is_one_further():
    x, q = np.full((1, 1, 1), -128, np.int8), np.full((1, 1, 1), 64, np.int8)
    assert not accumulate(x, q, 14, ALL, "wrap")[1].any()  # -8192
    assert accumulate(-(x + 1), q + 1, 14, ALL, "wrap")[1].any()  # 127 * 65 = 8255 > 8191


def test_chunks_of_positions_join():
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (1, 700, 5)).astype(np.int8)
    q = rng.integers(-128, 128, (1, 300, 5)).astype(np.int8)
    sums, _ = accumulate(x, q, 32)
    np.testing.assert_array_equal(sums[0], x[0].astype(np.int64) @ q[0].T.astype(np.int64))


def test_very_wide_accumulators_do_not_overflow_the_simulation():
    k = 1 << 17  # K * 128 * 128 = 2^31
    x, q = np.full((1, 1, k), -128, np.int8), np.full((1, 1, k), -128, np.int8)
    sums, overflowed = accumulate(x, q, 32, ALL, "wrap")
    assert sums.item() == -(2**31)
    assert overflowed.all()


def test_nothing_to_sum():
    sums, overflowed = accumulate(np.zeros((1, 2, 0), np.int8), np.zeros((1, 3, 0), np.int8), 16)
    assert sums.shape == overflowed.shape == (1, 2, 3)
    assert not sums.any()


def test_arithmetic_is_checked():
    with pytest.raises(ValueError, match="exact, wrap, saturate"):
        accumulate(np.zeros((1, 1, 1), np.int8), np.zeros((1, 1, 1), np.int8), 16, ALL, "clip")
