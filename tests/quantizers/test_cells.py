import numpy as np
import pytest
import tensorflow as tf

from keras_accq.quantizers.cells import additions, cell_length, cell_sums, per_weight
from keras_accq.quantizers.operands import Operands


@pytest.mark.parametrize("tile", [None, 1, 7, 12, 64, 1000])
@pytest.mark.parametrize("k", [1, 13, 48, 100])
def test_sums_cells_and_spreads_them(k, tile) -> None:
    operands = Operands(16, 8, 8, tile)
    values = np.random.default_rng(0).integers(-50, 50, (k, 3)).astype(np.float32)
    sums = cell_sums(tf.constant(values), operands).numpy()
    cells = operands.partition.cells(k)
    expected = [values[cells == cell].sum(axis=0) for cell in range(cells.max() + 1)]
    np.testing.assert_array_equal(sums, expected)
    spread = np.broadcast_to(per_weight(tf.constant(sums), k, operands), (k, 3))
    np.testing.assert_array_equal(spread, sums[cells])
    assert cell_length(k, operands) == (k if tile is None else min(k, tile))


def test_additions_are_few_where_a_length_has_factors() -> None:
    for k, most in ((4608, 134), (576, 46), (27, 10), (127, 126), (1, 0)):
        assert additions(k, Operands(16, 8, 8)) == most
    assert additions(4608, Operands(16, 8, 8, 64)) == 14


def test_two_stages_lose_less_than_one() -> None:
    """A thousand and more ones that float32 loses one by one beside 2^24, and keeps as a sum."""
    values = np.ones((4096, 1), np.float32)
    values[0] = 2.0**24
    total = float(cell_sums(tf.constant(values), Operands(16, 8, 8))[0, 0])
    assert abs(total - values.sum(dtype=np.float64)) <= 64
