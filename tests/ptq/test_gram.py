import numpy as np
import pytest

from keras_accq.ptq.gram import Gram


def _data(groups=2, vectors=50, k=5, channels=3):
    rng = np.random.default_rng(0)
    floats = rng.normal(0.5, 1, (groups, vectors, k))
    quantized = floats + rng.normal(0, 0.1, floats.shape)
    return rng.normal(size=(groups, k, channels)), quantized, floats


def _moments(weights, quantized, floats, batch, **options):
    gram = Gram(weights, **options)
    for start in range(0, quantized.shape[1], batch):
        gram.add(quantized[:, start : start + batch], floats[:, start : start + batch])
    return gram.moments()


def test_batches_give_what_all_at_once_gives():
    weights, quantized, floats = _data()
    whole = _moments(weights, quantized, floats, 50, cross=True)
    parts = _moments(weights, quantized, floats, 7, cross=True)
    for name in whole.__dataclass_fields__:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


def test_errors_are_those_of_the_outputs():
    weights, quantized, floats = _data()
    moments = _moments(weights, quantized, floats, 16, cross=False)
    other = np.round(weights, 1)
    difference = floats @ weights - quantized @ other
    np.testing.assert_allclose(moments.errors(other), (difference**2).mean(axis=1), rtol=1e-10)
    np.testing.assert_allclose(moments.mean_error(other), difference.mean(axis=1), rtol=1e-10)
    # About the means: what is left once a bias has taken up the mean error.
    np.testing.assert_allclose(
        moments.centred().errors(other), difference.var(axis=1), rtol=1e-10, atol=1e-14
    )


def test_the_cross_moment_is_kept_only_where_it_is_asked_for():
    weights, quantized, floats = _data()
    assert _moments(weights, quantized, floats, 50, cross=False).cross is None
    moments = _moments(weights, quantized, floats, 50, cross=True)
    np.testing.assert_allclose(moments.cross @ weights, moments.target, rtol=1e-12)
    centred = moments.centred()
    np.testing.assert_allclose(centred.cross @ weights, centred.target, rtol=1e-10, atol=1e-13)


def test_overlapping_vectors_count_less():
    weights, quantized, floats = _data()
    gram = Gram(weights, cross=False, overlap=4.0)
    gram.add(quantized, floats)
    assert gram.moments().independent == 50 / 4


def test_bad_batches_are_refused():
    weights, quantized, floats = _data()
    with pytest.raises(ValueError, match="two arrays of shape"):
        Gram(weights, cross=True).add(quantized, floats[:, :3])
    with pytest.raises(ValueError, match="two arrays of shape"):
        Gram(weights, cross=True).add(quantized[..., :4], floats[..., :4])
    with pytest.raises(ValueError, match="received none"):
        Gram(weights, cross=True).moments()
