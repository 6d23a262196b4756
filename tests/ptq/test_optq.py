import numpy as np

from keras_accq.ptq.optq import damped, system


def _spd(k=12, groups=2, seed=0):
    x = np.random.default_rng(seed).normal(size=(groups, 40, k))
    return x.transpose(0, 2, 1) @ x


def test_the_matrix_is_a_factor_of_the_damped_gram_matrix():
    gram = _spd()
    weights = np.random.default_rng(1).normal(size=(2, 12, 3))
    target, lower = system(weights, gram)
    assert np.array_equal(lower, np.tril(lower))
    np.testing.assert_allclose(lower.transpose(0, 2, 1) @ lower, damped(gram), rtol=1e-10)
    np.testing.assert_allclose(target, lower @ weights)


def test_its_rows_are_those_of_the_inverse_that_the_paper_uses():
    gram = damped(_spd(groups=1))
    _, lower = system(np.zeros((1, 12, 1)), _spd(groups=1))
    upper = np.linalg.cholesky(np.linalg.inv(gram[0])).T
    np.testing.assert_allclose(np.linalg.inv(lower[0].T), upper, rtol=1e-8, atol=1e-12)


def test_damping_is_a_hundredth_of_the_mean_diagonal_and_survives_silence():
    gram = np.stack([np.diag([1.0, 3.0]), np.zeros((2, 2))])
    np.testing.assert_allclose(damped(gram), np.stack([np.diag([1.02, 3.02]), np.eye(2)]))
