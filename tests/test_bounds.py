"""Exact bounds: brute force over every subset and order, inputs that reach them, and beyond."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq import bounds
from keras_accq.bounds import ALL, Partition

PARTITIONS = st.one_of(
    st.just(ALL),
    st.builds(Partition, st.just("runs"), st.integers(1, 9)),
    st.builds(Partition, st.just("lanes"), st.integers(1, 9)),
)
RANGES = st.tuples(st.integers(-128, 127), st.integers(-128, 127)).map(sorted)


@st.composite
def weight_arrays(draw, max_channels=4, max_k=24):
    channels, k = draw(st.integers(1, max_channels)), draw(st.integers(1, max_k))
    seed, magnitude = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 7, 128]))
    rng = np.random.default_rng(seed)
    return rng.integers(-magnitude, magnitude, (channels, k)).astype(np.int8)


def extreme_inputs(q, a, b):
    """The two inputs of one channel that reach the largest and the smallest sum in [a', b']."""
    low, high = min(a, 0), max(b, 0)
    return np.where(q > 0, high, low), np.where(q > 0, low, high)


def brute_worst(q, a, b, partition):
    """Worst case of one channel by Python integers, one product at a time."""
    low, high = min(a, 0), max(b, 0)
    worst = 0
    for cell in set(partition.cells(len(q)).tolist()):
        mine = [int(w) for w, c in zip(q, partition.cells(len(q)), strict=True) if c == cell]
        top = sum(max(w * low, w * high) for w in mine)
        bottom = sum(min(w * low, w * high) for w in mine)
        worst = max(worst, top, -bottom)
    return worst


def closed_form(q, a, b):
    """Both sides of the test in the module's docstring, from Sp and Sn."""
    low, high = min(a, 0), max(b, 0)
    wide = q.astype(object)
    sp, sn = int(wide[q > 0].sum()), -int(wide[q < 0].sum())
    return max(high * sp - low * sn, -low * sp + high * sn)


class TestAnyOrder:
    @pytest.mark.parametrize("low_high", [(-2, 1), (0, 2), (-1, 0), (-2, 2)])
    @pytest.mark.parametrize("q", [(3, -2, 1), (-128, 127, 0), (1, 1, -1), (-4, -4, -4)])
    def test_no_prefix_of_any_order_of_any_subset_leaves_the_bound(self, low_high, q):
        a, b = low_high
        reached = 0
        for x in itertools.product(range(a, b + 1), repeat=len(q)):
            products = [v * w for v, w in zip(x, q, strict=True)]
            for order in itertools.permutations(products):
                reached = max(reached, *(abs(s) for s in itertools.accumulate(order)))
        (bound,) = bounds.worst_case(np.array([q], np.int8), a, b)
        assert reached == bound  # never beyond, and reached

    def test_a_range_without_zero_is_widened_because_prefixes_overshoot_it(self):
        q, a, b = np.array([[5, -5]]), 10, 12
        final = max(abs(5 * x - 5 * y) for x in (a, b) for y in (a, b))
        prefix = 5 * b
        assert prefix > final
        assert bounds.worst_case(q, a, b)[0] == prefix

    @settings(max_examples=60, deadline=None)
    @given(weight_arrays(), RANGES, PARTITIONS)
    def test_equals_python_integers(self, q, ab, partition):
        expected = [brute_worst(row, *ab, partition) for row in q]
        assert bounds.worst_case(q, *ab, partition).tolist() == expected

    @settings(max_examples=60, deadline=None)
    @given(weight_arrays(), RANGES)
    def test_equals_the_closed_form(self, q, ab):
        assert bounds.worst_case(q, *ab).tolist() == [closed_form(row, *ab) for row in q]

    @settings(max_examples=60, deadline=None)
    @given(weight_arrays(), RANGES, st.integers(0, 2**32 - 1))
    def test_random_orders_of_extreme_inputs_stay_inside_and_reach_it(self, q, ab, seed):
        rng = np.random.default_rng(seed)
        for row, bound in zip(q.astype(np.int64), bounds.worst_case(q, *ab), strict=True):
            sums = []
            for x in extreme_inputs(row, *ab):
                products = rng.permutation(x * row)
                sums.append(np.abs(np.cumsum(products)).max())
            assert max(sums) == bound

    @settings(max_examples=40, deadline=None)
    @given(weight_arrays(), RANGES, st.integers(1, 5), st.integers(1, 5))
    def test_a_refinement_never_needs_more(self, q, ab, size, factor):
        coarse = bounds.worst_case(q, *ab, Partition("runs", size * factor))
        assert (bounds.worst_case(q, *ab, Partition("runs", size)) <= coarse).all()
        assert (coarse <= bounds.worst_case(q, *ab)).all()
        lanes = bounds.worst_case(q, *ab, Partition("lanes", size))
        assert (bounds.worst_case(q, *ab, Partition("lanes", size * factor)) <= lanes).all()


class TestExactness:
    def test_minus_128_is_not_negated_in_int8(self):
        q = np.full((1, 2), -128, np.int8)
        assert bounds.worst_case(q, -128, 127)[0] == 2 * 128 * 128

    def test_long_sums_are_not_taken_in_a_narrow_type(self):
        q = np.full((2, 300_000), 127, np.int8)
        assert bounds.worst_case(q, -128, 127).tolist() == [300_000 * 127 * 128] * 2

    def test_blocks_of_channels_join(self):
        rng = np.random.default_rng(5)
        q = rng.integers(-128, 128, (9, 400_000)).astype(np.int8)
        expected = [closed_form(row, -128, 127) for row in q]
        assert bounds.worst_case(q, -128, 127).tolist() == expected

    def test_a_sum_that_leaves_int64_is_refused(self):
        q = np.array([[2**61, 2**61]], np.int64)
        with pytest.raises(ValueError, match="exact 64-bit"):
            bounds.worst_case(q, -128, 127)

    def test_zero_weights_and_no_weights(self):
        assert bounds.worst_case(np.zeros((2, 3), np.int8), -128, 127).tolist() == [0, 0]
        assert bounds.worst_case(np.zeros((2, 0), np.int8), -128, 127).tolist() == [0, 0]
        assert bounds.worst_case(np.zeros((0, 4), np.int8), -128, 127).tolist() == []
        assert bounds.largest_safe_tile(np.zeros((2, 0), np.int8), -128, 127, 16).tolist() == [0, 0]

    @pytest.mark.parametrize("q", [np.zeros((1, 2)), np.array([[True, False]])])
    def test_weights_must_be_integers(self, q):
        with pytest.raises(TypeError, match="integer array"):
            bounds.worst_case(q, -128, 127)

    def test_weights_must_be_a_matrix(self):
        with pytest.raises(ValueError, match=r"\[channels, K\]"):
            bounds.worst_case(np.zeros(3, np.int8), -128, 127)

    def test_an_empty_range_is_refused(self):
        with pytest.raises(ValueError, match="a=3, b=2"):
            bounds.worst_case(np.ones((1, 1), np.int8), 3, 2)


class TestFits:
    @pytest.mark.parametrize("acc_bits", [8, 12, 14, 16, 24])
    def test_the_bound_itself_fits_and_one_beyond_does_not(self, acc_bits):
        limit = bounds.accumulator_limit(acc_bits)
        # Inputs in [-1, 1]: the worst case is the L1 norm, so it can be set to the unit.
        at, beyond = np.array([[limit - 1, -1]]), np.array([[limit, -1]])
        assert bounds.fits(at, -1, 1, acc_bits).tolist() == [True]
        assert bounds.fits(beyond, -1, 1, acc_bits).tolist() == [False]
        # The sums those inputs make, in an accumulator of that width.
        reach = [int((x * beyond[0]).sum()) for x in extreme_inputs(beyond[0], -1, 1)]
        assert max(reach) == limit + 1

    def test_the_negative_end_of_the_accumulator_is_not_used(self):
        # -32768 would fit int16, but a flipped channel's +32768 would not.
        q = np.array([[256]])
        assert bounds.worst_case(q, -128, 127)[0] == 32768
        assert not bounds.fits(q, -128, 127, 16)[0]

    def test_tile_decides(self):
        q = np.full((1, 128), 4, np.int8)
        assert not bounds.fits(q, -128, 127, 16)[0]
        assert bounds.fits(q, -128, 127, 16, Partition.of_tile(63))[0]
        assert not bounds.fits(q, -128, 127, 16, Partition.of_tile(64))[0]


class TestBudget:
    # The stored, centred budgets at P = 16 for N = 8..4 input bits.
    @pytest.mark.parametrize(
        ("bits", "expected"), [(8, 255), (7, 511), (6, 1023), (5, 2047), (4, 4095)]
    )
    def test_table_for_16_bits(self, bits, expected):
        assert bounds.budget(16, *bounds.operand_range(bits)) == expected
        full = np.full((1, 1), expected)
        assert bounds.fits(full, *bounds.operand_range(bits), 16)[0]
        assert not bounds.fits(full + 1, *bounds.operand_range(bits), 16)[0]

    # A2Q's own formula for unsigned inputs, from the same function: [0, 2^N - 1] is within
    # one unit of its 2^N.
    @pytest.mark.parametrize(("bits", "expected"), [(8, 127), (7, 255), (6, 511), (5, 1023)])
    def test_unsigned_inputs_have_half(self, bits, expected):
        assert (2**15 - 1) // 2**bits == expected
        assert bounds.budget(16, 0, 2**bits) == expected

    def test_any_signs_within_the_budget_fit(self):
        rng = np.random.default_rng(3)
        for bits in range(2, 9):
            a, b = bounds.operand_range(bits)
            total = bounds.budget(16, a, b)
            q = rng.multinomial(total, np.ones(40) / 40, 50) * rng.choice([-1, 1], (50, 40))
            assert bounds.fits(q, a, b, 16).all()

    def test_a_range_of_zero_only_has_no_budget(self):
        with pytest.raises(ValueError, match=r"\[0, 0\]"):
            bounds.budget(16, 0, 0)


class TestLeastAccBits:
    @settings(max_examples=60, deadline=None)
    @given(weight_arrays(), RANGES, PARTITIONS)
    def test_is_the_least(self, q, ab, partition):
        least = bounds.least_acc_bits(q, *ab, partition)
        for row, bits in zip(q, least.tolist(), strict=True):
            assert bounds.fits(row[None], *ab, bits, partition)[0]
            assert bits == 2 or not bounds.fits(row[None], *ab, bits - 1, partition)[0]

    def test_more_than_32_bits_are_reported_as_they_are(self):
        q = np.full((1, 1 << 18), 127, np.int8)
        assert bounds.least_acc_bits(q, -128, 127)[0] == 33


class TestLargestSafeTile:
    @settings(max_examples=80, deadline=None)
    @given(weight_arrays(max_k=30), RANGES, st.integers(8, 18))
    def test_equals_trying_every_size(self, q, ab, acc_bits):
        tiles = bounds.largest_safe_tile(q, *ab, acc_bits)
        for row, tile in zip(q, tiles.tolist(), strict=True):
            good = [
                size
                for size in range(1, q.shape[1] + 1)
                if bounds.fits(row[None], *ab, acc_bits, Partition("runs", size))[0]
            ]
            assert tile == max(good, default=0)

    def test_a_smaller_tile_may_fail(self):
        # Runs of 4 separate the two heavy taps, runs of 3 join them.
        q = np.array([[0, 0, 0, 100, 100, 0, 0, 0]], np.int8)
        assert bounds.largest_safe_tile(q, -128, 127, 15)[0] == 4
        assert not bounds.fits(q, -128, 127, 15, Partition("runs", 3))[0]

    def test_nothing_fits(self):
        assert bounds.largest_safe_tile(np.array([[1, 127]], np.int8), -128, 127, 8)[0] == 0

    def test_everything_fits(self):
        assert (
            bounds.largest_safe_tile(np.ones((3, 255), np.int8), -128, 127, 16).tolist()
            == [255] * 3
        )


class TestTypeBound:
    @pytest.mark.parametrize("signed", [False, True])
    def test_equals_the_papers_formula(self, signed):
        for k, n, m in itertools.product([1, 3, 9, 64, 576, 4609], range(2, 9), range(2, 9)):
            alpha = np.log2(k) + n + m - 1 - signed
            need = alpha + np.log2(1 + 2.0**-alpha) + 1
            if abs(need - round(need)) > 1e-6:  # elsewhere floating point can not tell
                assert bounds.type_bound_bits(k, n, m, signed) == int(np.ceil(need))

    def test_eight_by_eight_bits_leave_16_bits_one_product(self):
        assert bounds.type_bound_bits(1, 8, 8, True) == 16
        assert bounds.type_bound_bits(2, 8, 8, True) == 17

    def test_counts_are_checked(self):
        with pytest.raises(ValueError, match="weight_bits"):
            bounds.type_bound_bits(4, 8, 0, True)


class TestArguments:
    @pytest.mark.parametrize("bad", [True, False, np.True_, 16.0, "16", None])
    def test_acc_bits_of_a_wrong_type(self, bad):
        with pytest.raises(TypeError, match="acc_bits"):
            bounds.check_acc_bits(bad)

    @pytest.mark.parametrize("bad", [-1, 0, 1, 33, 64])
    def test_acc_bits_out_of_range(self, bad):
        with pytest.raises(ValueError, match=r"2\.\.32"):
            bounds.check_acc_bits(bad)
        with pytest.raises(ValueError, match=r"2\.\.32"):
            bounds.fits(np.ones((1, 1), np.int8), -128, 127, bad)

    def test_numpy_integers_are_integers(self):
        assert bounds.check_acc_bits(np.int32(16)) == 16
        assert bounds.accumulator_limit(16) == 32767

    @pytest.mark.parametrize("bad", [1, 9])
    def test_operand_bits_out_of_range(self, bad):
        with pytest.raises(ValueError, match=r"2\.\.8"):
            bounds.operand_range(bad)

    @pytest.mark.parametrize(("kind", "size"), [("all", 2), ("runs", 0), ("lanes", -1), ("x", 1)])
    def test_partitions_are_checked(self, kind, size):
        with pytest.raises(ValueError, match="Partition"):
            Partition(kind, size)

    def test_a_tile_must_be_an_integer(self):
        with pytest.raises(TypeError, match="bool"):
            Partition.of_tile(True)


def test_partitions_in_words_and_cells():
    assert [str(p) for p in (ALL, Partition.of_tile(64), Partition("lanes", 8))] == [
        "monolithic",
        "tile=64",
        "lanes=8",
    ]
    assert Partition.of_tile(None) == ALL
    assert ALL.cells(3).tolist() == [0, 0, 0]
    assert Partition("runs", 2).cells(5).tolist() == [0, 0, 1, 1, 2]
    assert Partition("lanes", 2).cells(5).tolist() == [0, 1, 0, 1, 0]


def test_needs_numpy_only():
    code = (
        "import sys, keras_accq.bounds; "
        "bad = {'tensorflow', 'keras', 'ai_edge_litert', 'flatbuffers'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
