import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keras_accq.bounds import fits
from keras_accq.ptq.greedy import greedy
from keras_accq.quantizers.operands import Operands


@given(
    st.integers(1, 70),
    st.sampled_from([None, 1, 3, 16, 64]),
    st.integers(9, 32),
    st.integers(0, 2**31),
)
def test_integers_fit_whatever_the_targets(k, tile, acc_bits, seed):
    rng = np.random.default_rng(seed)
    operands = Operands(acc_bits, 8, 8, tile)
    target = rng.normal(0, 10.0 ** rng.integers(-2, 12), (2, k, 3))
    matrix = np.tril(rng.normal(size=(2, k, k))) + 3 * np.eye(k)
    order = np.stack([rng.permutation(k) for _ in range(2)])
    cells = operands.partition.cells(k)[order]
    q = greedy(target, matrix, cells, operands, None)
    np.testing.assert_array_equal(q, np.rint(q))
    assert np.abs(q).max() <= operands.largest
    in_file_order = np.take_along_axis(q, np.argsort(order, axis=1)[:, :, None], axis=1)
    for group in in_file_order.astype(np.int64):
        assert fits(group.T, *operands.input_range, acc_bits, operands.partition).all()


def test_each_weight_makes_up_for_those_before_it():
    # Without a limit in the way, the sums differ from their targets by rounding alone.
    rng = np.random.default_rng(0)
    k = 50
    matrix = np.tril(rng.normal(size=(1, k, k)) / 10, -1) + np.eye(k)
    target = rng.normal(0, 5, (1, k, 4))
    operands = Operands(32, 8, 8)
    q = greedy(target.copy(), matrix, np.zeros((1, k), int), operands, None)
    assert np.abs(target - matrix @ q).max() <= 0.5 + 1e-9


def test_thresholds_shrink_and_what_they_take_is_handed_on():
    operands = Operands(32, 8, 8)
    matrix = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    target = np.array([[[3.4], [3.4]]])
    thresholds = np.full((1, 1, 1), 1.0)
    q = greedy(target, matrix, np.zeros((1, 2), int), operands, thresholds)
    # round(3.4 - 1) = 2; then 3.4 - 2 = 1.4 is wanted of the second, less the threshold: 0.
    np.testing.assert_array_equal(q[0, :, 0], [2, 0])
