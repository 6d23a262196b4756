"""How far a layer's weights can make up for what the layers before it did to its inputs.

The layer's output should be wᵀX, as in the float model, but its inputs are X̂. Real weights w + δ
with δ = (H + λI)⁻¹X̂(wᵀX - wᵀX̂)ᵀ come nearest. Fitted to few calibration data, though, δ explains
errors of those data that others will not have: of noise, K weights explain a part K / n of n
vectors. So each channel's δ is scaled by the part of what it explains that is expected to last, as
the adjusted coefficient of determination has it (Ezekiel, 1930). This form is this package's own;
Qronos (arXiv 2505.11695) corrects the same error without.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keras_accq.ptq.gram import Moments
from keras_accq.ptq.optq import damped

FloatArray = NDArray[np.float64]


def compensated(
    weights: FloatArray, moments: Moments, extent: Literal["none", "lasting", "all"]
) -> tuple[FloatArray, Moments]:
    """The real weights to quantize, and moments whose target is what they put out.

    Args:
        weights: w, float64 [groups, K, channels].
        moments: Of the layer's inputs.
        extent: How much of δ to apply: nothing, so that the target is wᵀX̂; the part that is
            expected to last; or everything, so that the target is wᵀX.
    """
    if extent == "all":
        wanted = weights + _change(weights, moments)
        return wanted, moments
    missing = moments.target - moments.gram @ weights
    kept = np.zeros_like(moments.energy)
    wanted = weights
    if extent == "lasting":
        change = _change(weights, moments)
        kept = _lasting(change, missing, moments.errors(weights), moments)
        wanted = weights + kept[:, None] * change
    left = (1 - kept)[:, None] * missing
    cross = moments.cross
    if cross is not None:
        # One matrix serves all channels.
        cross = moments.gram + kept.mean(axis=1)[:, None, None] * (cross - moments.gram)
    # The error of w itself stays what it is.
    energy = moments.energy - 2 * (weights * left).sum(axis=1)
    return wanted, replace(moments, target=moments.target - left, cross=cross, energy=energy)


def _change(weights: FloatArray, moments: Moments) -> FloatArray:
    """δ."""
    missing = moments.target - moments.gram @ weights
    return np.linalg.solve(damped(moments.gram), missing).astype(np.float64)


def _lasting(
    change: FloatArray, missing: FloatArray, total: FloatArray, moments: Moments
) -> FloatArray:
    """The part of each channel's change to keep, float64 [groups, channels] in 0..1."""
    k, count = change.shape[1], moments.independent
    if count <= k + 1:
        return np.zeros_like(total)
    positive = total > 0
    whole = np.where(positive, total, 1.0)
    # Of a damped solution this is no more than what it explains.
    explained = np.clip((change * missing).sum(axis=1) / whole, 0.0, 1.0)
    adjusted = 1 - (1 - explained) * (count - 1) / (count - k - 1)
    usable = positive & (explained > 0)
    part: FloatArray = np.where(usable, adjusted / np.where(usable, explained, 1.0), 0.0)
    return np.clip(part, 0.0, 1.0)
