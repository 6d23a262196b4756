import numpy as np

from keras_accq.ptq.scale_search import refit, search


def _parabola(best):
    """A solver whose error is least at given scales; its integers tell the scale it was given."""
    calls = []

    def solve(scales):
        calls.append(scales)
        return scales[:, None].repeat(2, axis=1), np.log2(scales / best) ** 2

    return solve, calls


def test_each_channel_gets_the_scale_of_least_error():
    weights = np.random.default_rng(0).normal(size=(2, 2, 3))
    peaks = np.abs(weights).max(axis=1)
    best = peaks / np.array([[1.3, 20.0, 90.0], [250.0, 4.0, 7.7]])
    solve, calls = _parabola(best)
    q, scales, errors = search(solve, weights, 127)
    # The steps about the best coarse one are an eighth of an octave, so half of that is left.
    assert (np.abs(np.log2(scales / best)) <= 1 / 16 + 1e-9).all()
    np.testing.assert_allclose(errors, np.log2(scales / best) ** 2)
    np.testing.assert_array_equal(q[:, 0], scales)
    assert len(calls) <= 25


def test_scales_reach_from_one_step_for_the_largest_weight_to_twice_what_fits():
    weights = np.ones((1, 1, 1))
    for best in (1.0, 1 / 254):
        solve, _ = _parabola(np.full((1, 1), best))
        _, scales, _ = search(solve, weights, 127)
        assert abs(np.log2(scales[0, 0] / best)) <= 1 / 16 + 1e-9


def test_a_channel_of_zeros_has_a_scale():
    weights = np.zeros((1, 3, 2))
    weights[0, 0, 1] = 4.0

    def solve(scales):
        assert (scales > 0).all()
        return np.zeros((1, 3, 2)), np.zeros((1, 2))

    _, scales, _ = search(solve, weights, 7)
    assert (scales > 0).all()
    search(solve, np.zeros((1, 3, 2)), 7)


def test_refit_gives_the_least_squares_scale():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 4))
    weights = rng.normal(size=(1, 4, 3))
    q = np.rint(weights * 3)
    q[:, :, 2] = 0
    gram = (x.T @ x)[None]
    target = gram @ weights
    old = np.array([[0.5, 0.4, 0.3]])
    found = refit(q, old, target, gram)
    for channel in range(2):
        products, wanted = x @ q[0, :, channel], x @ weights[0, :, channel]
        np.testing.assert_allclose(found[0, channel], products @ wanted / (products @ products))
    assert found[0, 2] == 0.3
    # Where the best scale would not be positive, the old one stays.
    np.testing.assert_array_equal(refit(-q, old, target, gram), old)
