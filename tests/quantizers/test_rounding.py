import numpy as np
import pytest
import tensorflow as tf

from keras_accq.bounds import ALL, Partition, fits
from keras_accq.errors import BudgetError
from keras_accq.quantizers import methods
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import (
    Cells,
    CentredTruncated,
    Nearest,
    Truncated,
    half_radius,
    l1_radius,
)


@pytest.mark.parametrize("partition", [ALL, Partition("runs", 7), Partition("lanes", 8)], ids=str)
def test_cells_there_and_back(partition) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 20))
    cells = Cells(partition, 20)
    rows = cells.rows(weights)
    assert len(rows) == 3 * len(cells.lengths)
    assert cells.lengths.sum() == 20
    np.testing.assert_array_equal(cells.weights(rows), weights)
    ids = partition.cells(20)
    np.testing.assert_array_equal(rows[0][: cells.lengths[0]], weights[0, ids == 0])
    assert len(cells.per_row(np.ones(3))) == len(rows)


@pytest.mark.parametrize("name", sorted(methods.METHODS))
@pytest.mark.parametrize("tile", [None, 24])
@pytest.mark.parametrize("depthwise", [False, True])
def test_predicts_what_the_layer_starts_with(name, tile, depthwise) -> None:
    method = methods.get(name)
    operands = Operands(16, 4, 4, tile, depthwise) if name != "type_bound" else Operands(20, 4, 4)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(100, 12)) + 0.2
    scales = rng.uniform(0.05, 0.3, 12)
    cells = Cells(operands.partition, 100)
    rows = method.rounding(depthwise).prepare(cells.rows(weights.T), np.tile(cells.lengths, 12))
    predicted = cells.weights(rows.integers(cells.per_row(scales), operands.acc_bits, 4, 4)).T
    v, parameters = method.initial(weights, scales, operands)
    tensors = {key: tf.constant(value) for key, value in parameters.items()}
    q = method.quantize(tf.constant(v), tensors, operands)[0].numpy()
    # float32 against float64, and the margin of float32's proof.
    assert (q != predicted).mean() <= 2e-3
    assert np.abs(q - predicted).max() <= 1
    assert (
        fits(predicted.T.astype(np.int64), *operands.input_range, operands.acc_bits).all() or tile
    )


def test_the_radii() -> None:
    assert l1_radius(16, 8) == 32767 / 128
    assert half_radius(16, 8) == pytest.approx((2**16 - 2) / 255 / 2)
    assert Truncated(unsigned=True).radius(16, 8) == 32767 / 256


def test_a_centred_projection_is_the_nearest_that_fits() -> None:
    """Nothing between it and the weights fits: moving toward them leaves the budget."""
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(4, 50))
    rows = CentredTruncated().prepare(weights, np.full(4, 50))
    scales = np.full(4, 0.05)
    nearest = rows.projected(scales, 12, 6)
    half = 0.05 * half_radius(12, 6)
    positive, negative = np.maximum(nearest, 0).sum(axis=1), np.maximum(-nearest, 0).sum(axis=1)
    np.testing.assert_allclose(positive, half)
    np.testing.assert_allclose(negative, half)
    centred = weights - weights.mean(axis=1, keepdims=True)
    for _ in range(200):
        # Any other pair of the budget's norms is farther away.
        other = rng.normal(size=50)
        other = np.where(other > 0, other / other[other > 0].sum(), other / -other[other < 0].sum())
        for row, best in zip(centred, nearest, strict=True):
            step = best + 1e-3 * (other * half - best)
            assert ((step - row) ** 2).sum() >= ((best - row) ** 2).sum() - 1e-12


def test_short_cells_are_not_centred() -> None:
    rows = np.ones((2, 16))
    rows[1, 15] = 0
    prepared = CentredTruncated().prepare(rows, np.array([16, 15]))
    q = prepared.integers(np.ones(2), 16, 4, 8)
    assert (q[0] == 0).all()
    np.testing.assert_array_equal(q[1], rows[1])


def test_type_bound_needs_the_bits_of_the_types() -> None:
    assert Nearest().least_acc_bits(8, 8, 1) == 16
    assert Nearest().least_acc_bits(4, 4, 576) == 17
    with pytest.raises(BudgetError, match=r"576 products of 4-bit.*acc_bits >= 17"):
        Nearest().check(16, 4, 4, 576)
