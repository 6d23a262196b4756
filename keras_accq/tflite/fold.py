"""The integers of a dot-product layer on their way from Keras to a file; exact BatchNorm folding.

BatchNormalization is trained unfolded and folded here: it multiplies a channel's scale and changes
its bias, and leaves the integers alone, up to the sign of a channel with negative gamma. NumPy
only.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32Array = NDArray[np.float32]

# A channel whose bias exceeds this many units of its accumulator is taken as dead: the bias would
# not fit int32, and all its sums together would not move the output by a visible step.
_LARGEST_BIAS = 2.0**30
# The converter takes no weight range below ±5e-7 (scale 3.94e-9) and would quantize such a channel
# anew. The sums of one this small stay below 1.4e-4 steps of a layer's input at 16 bits.
_SMALLEST_SCALE = 4e-9


@dataclass(frozen=True)
class Kernel:
    """Integer weights of one layer.

    Attributes:
        name: The layer's.
        q: int8 [..., channels], the layer's own layout with channels last.
        scales: float32 [channels], positive.
        bias: float32 [channels], in real units.
    """

    name: str
    q: NDArray[np.int8]
    scales: Float32Array
    bias: Float32Array

    @property
    def by_channel(self) -> NDArray[np.int8]:
        """int8 [channels, K], K in file order (kh, kw, cin)."""
        return np.ascontiguousarray(self.q.reshape(-1, self.q.shape[-1]).T)


def canonical_scales(scales: ArrayLike) -> Float32Array:
    """The nearest scales that survive the converter, float32.

    The converter is given 127·s and computes 2·fl32(127·s)/254, which for about one s in 250 is
    one unit in the last place away from s. Applying this twice changes nothing more.
    """
    limits = np.asarray(scales, np.float32) * np.float32(127)
    return (limits.astype(np.float64) * 2 / 254).astype(np.float32)


def fold_batch_norm(
    kernel: Kernel,
    *,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    epsilon: float,
) -> Kernel:
    """The kernel that computes BatchNormalization(kernel's layer).

    gamma·(s·Σqx + b - mean)/sd + beta = (s·|gamma|/sd)·Σ(±q)x + gamma·(b - mean)/sd + beta, with
    sd = sqrt(variance + epsilon). Computed in float64, rounded once. Where gamma is 0 the integers
    and the scale become 0: see silence_dead_channels.

    Args:
        kernel: Before normalization.
        gamma: float [channels]; so are beta, mean and variance.
        beta: Offset.
        mean: Moving mean.
        variance: Moving variance, not negative.
        epsilon: Of the layer.
    """
    factor = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    centred = kernel.bias.astype(np.float64) - np.asarray(mean, np.float64)
    bias = (factor * centred + np.asarray(beta, np.float64)).astype(np.float32)
    q = np.where(factor < 0, -kernel.q, kernel.q).astype(np.int8)
    return replace(
        kernel, q=q, scales=(kernel.scales * np.abs(factor)).astype(np.float32), bias=bias
    )


def silence_dead_channels(kernel: Kernel, input_scale: float) -> Kernel:
    """The kernel with channels that carry only a bias (gamma 0, or nearly) as a file can hold them.

    Their integers become 0, and their scale one in which the bias is a number of 20 bits.

    Args:
        kernel: Folded; its scales may be 0.
        input_scale: Scale of the layer's input tensor.
    """
    scales, bias = kernel.scales.astype(np.float64), np.abs(kernel.bias.astype(np.float64))
    dead = (scales < _SMALLEST_SCALE) | (bias > _LARGEST_BIAS * scales * input_scale)
    only_bias = np.maximum(bias * 2.0**-20 / input_scale, 1e-6)
    return replace(
        kernel,
        q=np.where(dead, 0, kernel.q).astype(np.int8),
        scales=np.where(dead, only_bias, scales).astype(np.float32),
    )
