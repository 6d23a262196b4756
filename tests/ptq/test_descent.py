import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keras_accq.bounds import fits
from keras_accq.ptq.descent import descend
from keras_accq.quantizers.operands import Operands


def _problem(seed, k=20, channels=3, groups=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, 60, k)) @ rng.normal(size=(groups, k, k))
    gram = x.transpose(0, 2, 1) @ x / 60
    weights = rng.normal(0, 6, (groups, k, channels))
    return gram, weights, gram @ weights


def _errors(gram, weights, q):
    difference = q - weights
    return (difference * (gram @ difference)).sum(axis=1)


@given(st.integers(0, 2**31), st.sampled_from([None, 4, 7]), st.integers(9, 16))
def test_errors_never_grow_and_integers_fit(seed, tile, acc_bits):
    operands = Operands(acc_bits, 8, 5, tile)
    gram, weights, target = _problem(seed)
    groups, k, _ = weights.shape
    cells = np.broadcast_to(operands.partition.cells(k), (groups, k))
    # From integers that fit, but were chosen blindly.
    start = np.zeros_like(weights)
    start[:, ::7] = np.clip(np.rint(weights[:, ::7]), -1, 1) * (acc_bits >= 12)
    before = _errors(gram, weights, start)
    after = start
    for _ in range(3):
        q = descend(after, target, gram, cells, operands, 1)
        errors = _errors(gram, weights, q)
        assert (errors <= before * (1 + 1e-9)).all()
        before, after = errors, q
    assert np.abs(after).max() <= operands.largest
    for group in after.astype(np.int64):
        assert fits(group.T, *operands.input_range, acc_bits, operands.partition).all()


def test_no_single_weight_is_left_to_improve():
    operands = Operands(12, 8, 5)
    gram, weights, target = _problem(5, k=12)
    cells = np.zeros((2, 12), int)
    q = descend(np.zeros_like(weights), target, gram, cells, operands, 100)
    least = _errors(gram, weights, q)
    for position in range(12):
        for step in (-1, 1):
            trial = q.copy()
            trial[:, position] += step
            fit = np.stack(
                [fits(g.T, *operands.input_range, 12) for g in trial.astype(np.int64)]
            ) & (np.abs(trial[:, position]) <= operands.largest)
            assert (~fit | (_errors(gram, weights, trial) >= least - 1e-9)).all()


def test_weights_of_silent_inputs_stay():
    gram = np.diag([1.0, 0.0])[None]
    q = np.array([[[0.0], [3.0]]])
    operands = Operands(16, 8, 8)
    found = descend(q, np.array([[[5.2], [0.0]]]), gram, np.zeros((1, 2), int), operands, 2)
    np.testing.assert_array_equal(found[0, :, 0], [5, 3])
    np.testing.assert_array_equal(q[0, :, 0], [0, 3])
