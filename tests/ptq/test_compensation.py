import numpy as np

from keras_accq.ptq.compensation import compensated
from keras_accq.ptq.gram import Gram


def _moments(weights, quantized, floats, **options):
    gram = Gram(weights, cross=True, **options)
    gram.add(quantized, floats)
    return gram.moments()


def test_a_linear_change_of_the_inputs_is_undone():
    rng = np.random.default_rng(2)
    floats = rng.normal(size=(1, 400, 6))
    weights = rng.normal(size=(1, 6, 2))
    found, _ = compensated(weights, _moments(weights, 1.25 * floats, floats), "lasting")
    # Damping leaves a part of about 1 % of the way.
    np.testing.assert_allclose(found, weights / 1.25, atol=0.02)


def test_equal_inputs_change_nothing():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 100, 6))
    weights = rng.normal(size=(2, 6, 2))
    moments = _moments(weights, inputs, inputs)
    found, after = compensated(weights, moments, "lasting")
    np.testing.assert_allclose(found, weights, rtol=1e-9)
    np.testing.assert_allclose(after.target, moments.target, rtol=1e-9)
    np.testing.assert_allclose(after.cross, moments.cross, rtol=1e-9)


def test_noise_is_not_fitted():
    """With few vectors, what looks like a cure for the error of those does not last."""
    rng = np.random.default_rng(1)
    k, count = 40, 60
    weights = rng.normal(size=(1, k, 300))
    floats = rng.normal(size=(1, count, k))
    # Errors that the inputs know nothing of, in inputs that play no other part.
    other = np.concatenate([rng.normal(size=(1, count, k)), floats], axis=2)
    both = np.concatenate([np.ones_like(weights), weights], axis=1)
    quantized = np.concatenate([np.zeros_like(floats), floats], axis=2)
    found, after = compensated(both, _moments(both, quantized, other), "lasting")
    raw = np.linalg.lstsq(quantized[0], other[0] @ both[0], rcond=None)[0]
    change, fitted = (np.linalg.norm(w[k:] - weights[0]) for w in (found[0], raw))
    assert change < 0.35 * fitted
    # All the less where vectors overlap, down to nothing.
    overlapping, _ = compensated(both, _moments(both, quantized, other, overlap=2.0), "lasting")
    np.testing.assert_array_equal(overlapping, both)
    assert (after.errors(found) <= after.errors(both) + 1e-9).all()


def test_the_error_of_the_float_weights_stays_what_it_is():
    rng = np.random.default_rng(3)
    floats = rng.normal(size=(1, 60, 8))
    quantized = 0.8 * floats + 0.2 * rng.normal(size=floats.shape)
    weights = rng.normal(size=(1, 8, 5))
    moments = _moments(weights, quantized, floats)
    found, after = compensated(weights, moments, "lasting")
    np.testing.assert_allclose(after.errors(weights), moments.errors(weights), rtol=1e-9)
    assert (after.errors(found) < after.errors(weights)).all()
    # On new data the compensated weights are better too.
    new = rng.normal(size=(5000, 8))
    seen = 0.8 * new + 0.2 * rng.normal(size=new.shape)
    error = [np.linalg.norm(new @ weights[0] - seen @ w[0]) for w in (found, weights)]
    assert error[0] < error[1]


def test_all_and_none():
    rng = np.random.default_rng(4)
    floats = rng.normal(size=(1, 60, 8))
    quantized = 0.8 * floats + 0.2 * rng.normal(size=floats.shape)
    weights = rng.normal(size=(1, 8, 5))
    moments = _moments(weights, quantized, floats)
    found, after = compensated(weights, moments, "all")
    assert after is moments
    raw = np.linalg.lstsq(quantized[0], floats[0] @ weights[0], rcond=None)[0]
    np.testing.assert_allclose(found[0], raw, atol=0.05)
    found, after = compensated(weights, moments, "none")
    np.testing.assert_array_equal(found, weights)
    np.testing.assert_allclose(after.target, moments.gram @ weights)
    np.testing.assert_allclose(after.cross, moments.gram)
    np.testing.assert_allclose(after.errors(weights), moments.errors(weights), rtol=1e-9)
    # No weights come nearer to the target than the float ones.
    assert (after.errors(weights + 0.1) > after.errors(weights)).all()
