import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_accq.tflite.fold import (
    Kernel,
    canonical_scales,
    fold_batch_norm,
    silence_dead_channels,
)


def _kernel(rng: np.random.Generator, channels: int = 6) -> Kernel:
    return Kernel(
        "conv",
        rng.integers(-127, 128, (3, 3, 2, channels)).astype(np.int8),
        rng.uniform(0.001, 0.1, channels).astype(np.float32),
        rng.normal(size=channels).astype(np.float32),
    )


def _outputs(kernel: Kernel, x: np.ndarray) -> np.ndarray:
    weights = kernel.by_channel.astype(np.float64) * kernel.scales[:, None].astype(np.float64)
    return x @ weights.T + kernel.bias.astype(np.float64)


def test_folding_computes_batch_normalization_and_keeps_the_integers() -> None:
    rng = np.random.default_rng(0)
    kernel, x = _kernel(rng), rng.normal(size=(50, 18))
    gamma, beta, mean = rng.normal(size=(3, 6))
    variance = rng.uniform(0.1, 2, 6)
    gamma[:3] = np.abs(gamma[:3])
    gamma[3:] = -np.abs(gamma[3:])
    folded = fold_batch_norm(
        kernel, gamma=gamma, beta=beta, mean=mean, variance=variance, epsilon=1e-3
    )
    expected = gamma * (_outputs(kernel, x) - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(_outputs(folded, x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(folded.q[..., :3], kernel.q[..., :3])
    np.testing.assert_array_equal(folded.q[..., 3:], -kernel.q[..., 3:])
    assert (folded.scales > 0).all()


@pytest.mark.parametrize("gamma", [0.0, 1e-12, -1e-25, 1e-38])
def test_channels_without_gain_keep_only_their_bias(gamma: float) -> None:
    rng = np.random.default_rng(1)
    kernel = _kernel(rng, 3)
    folded = fold_batch_norm(
        kernel,
        gamma=[1.0, gamma, 1.0],
        beta=[0.5, -2.0, 0.5],
        mean=np.zeros(3),
        variance=np.ones(3),
        epsilon=0.0,
    )
    silenced = silence_dead_channels(folded, 0.05)
    assert not silenced.q[..., 1].any()
    units = silenced.bias[1] / (silenced.scales[1] * 0.05)
    assert units == pytest.approx(-(2.0**20), rel=1e-6)
    for channel in (0, 2):
        np.testing.assert_array_equal(silenced.q[..., channel], folded.q[..., channel])
        assert silenced.scales[channel] == folded.scales[channel]


def test_a_silent_channel_with_no_bias_has_a_scale() -> None:
    kernel = _kernel(np.random.default_rng(2), 1)
    folded = fold_batch_norm(
        kernel, gamma=[0.0], beta=[0.0], mean=[0.0], variance=[1.0], epsilon=0.001
    )
    silenced = silence_dead_channels(folded, 0.05)
    assert silenced.scales[0] > 0
    assert not silenced.q.any()


def test_by_channel_is_in_file_order() -> None:
    q = np.arange(2 * 2 * 3 * 4, dtype=np.int8).reshape(2, 2, 3, 4)
    kernel = Kernel("conv", q, np.ones(4, np.float32), np.zeros(4, np.float32))
    np.testing.assert_array_equal(kernel.by_channel, q.transpose(3, 0, 1, 2).reshape(4, 12))


@given(st.floats(2.0**-66, 2.0**20, width=32))
def test_canonical_scales_are_within_an_ulp_and_stay(scale: float) -> None:
    once = canonical_scales(scale)
    assert abs(once / np.float32(scale) - 1) < 2.5e-7
    assert canonical_scales(once) == once
