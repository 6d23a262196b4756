import keras
import numpy as np
import pytest

from keras_accq.layers import ActivationProduct, AttentionSoftmax
from keras_accq.layers.attention import causal_mask


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("transpose_b", [False, True])
def test_products_are_those_of_numpy(transpose_b: bool) -> None:
    a, b = _random(2, 3, 4, 5), _random(2, 3, 5, 6)
    given = b.swapaxes(-1, -2) if transpose_b else b
    layer = ActivationProduct(transpose_b)
    np.testing.assert_allclose(layer([a, given]), a @ b, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape([a.shape, given.shape]) == (2, 3, 4, 6)


def test_no_position_attends_to_a_later_one() -> None:
    weights = np.asarray(AttentionSoftmax(causal=True)(_random(2, 4, 6)))
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    later = np.arange(6) > np.arange(4)[:, None]
    assert (weights[:, later] == 0).all()
    assert (weights[:, ~later] > 0).all()
    np.testing.assert_array_equal(causal_mask(4, 6) < 0, later)


def test_without_a_mask_it_is_a_softmax() -> None:
    scores = _random(2, 4, 6)
    np.testing.assert_allclose(
        AttentionSoftmax()(scores), keras.layers.Softmax()(scores), rtol=1e-5
    )


@pytest.mark.parametrize("layer", [ActivationProduct(True), AttentionSoftmax(True)])
def test_settings_are_kept(layer) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
