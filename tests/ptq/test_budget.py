import literal_axe
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_accq.bounds import accumulator_limit, worst_case
from keras_accq.ptq.budget import Ledger, SoftThresholds
from keras_accq.quantizers.operands import Operands


@st.composite
def _operands(draw):
    acc_bits = draw(st.integers(4, 32))
    input_bits = draw(st.integers(2, min(8, acc_bits - 1)))
    tile = draw(st.one_of(st.none(), st.integers(1, 12)))
    return Operands(acc_bits, input_bits, draw(st.integers(2, 8)), tile)


@given(_operands(), st.integers(1, 10), st.integers(0, 2**31))
def test_limits_are_the_last_integers_that_fit(operands, k, seed):
    rng = np.random.default_rng(seed)
    groups, channels = 2, 2
    cells = np.broadcast_to(operands.partition.cells(k), (groups, k))
    ledger = Ledger(operands, k, groups, channels)
    q = np.zeros((groups, k, channels), np.int64)
    limit = accumulator_limit(operands.acc_bits)

    def worst(position, value):
        trial = q.copy()
        trial[:, position] = value
        rows = trial.transpose(0, 2, 1).reshape(-1, k)
        return worst_case(rows, *operands.input_range, operands.partition)

    for position in rng.permutation(k):
        smallest, largest = ledger.limits(cells[:, position])
        assert (smallest <= 0).all()
        assert (largest >= 0).all()
        for end, step in ((smallest, -1), (largest, 1)):
            assert (worst(position, end) <= limit).all()
            beyond = worst(position, end + step) > limit
            assert (beyond | (np.abs(end + step) > operands.largest).reshape(-1)).all()
        # Where the accumulator's room ends sooner than the weight's bits, it is used up exactly.
        q[:, position] = rng.choice([smallest, largest, smallest // 2, largest // 2])
        ledger.take(cells[:, position], q[:, position])


@given(_operands(), st.integers(0, 2**31))
def test_what_is_given_back_can_be_taken_again(operands, seed):
    k = 6
    ledger = Ledger(operands, k, 1, 3)
    cells = operands.partition.cells(k)[None]
    rng = np.random.default_rng(seed)
    for position in range(k):
        before = ledger.limits(cells[:, position])
        q = rng.integers(before[0], before[1] + 1)
        ledger.take(cells[:, position], q)
        ledger.give(cells[:, position], q)
        np.testing.assert_array_equal(ledger.limits(cells[:, position]), before)
        ledger.take(cells[:, position], q)


@pytest.mark.parametrize("tile", [None, 4, 5, 100])
@pytest.mark.parametrize("acc_bits", [10, 12, 16])
def test_thresholds_project_each_tile(acc_bits, tile):
    rng = np.random.default_rng(2)
    weights = rng.normal(0.3, 1, (2, 13, 3))
    scales = rng.uniform(0.005, 0.5, (2, 3))
    operands = Operands(acc_bits, 8, 8, tile)
    found = SoftThresholds(weights, operands).at(scales)
    cells = operands.partition.cells(13)
    assert found.shape == (cells.max() + 1, 2, 3)
    for group in range(2):
        for channel in range(3):
            units = weights[group, :, channel] / scales[group, channel]
            np.testing.assert_allclose(
                found[cells, group, channel],
                literal_axe.soft_thresholds(units, operands),
                rtol=1e-9,
                atol=1e-9,
            )
