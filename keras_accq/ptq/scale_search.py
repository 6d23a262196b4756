"""The search for each channel's weight scale with the accumulator in view.

A scale that uses all integers of M bits asks for more than a narrow accumulator can hold; one that
asks for less rounds more coarsely. Which is best depends on the solver, the data and the budget, so
scales are tried: first in steps of a factor √2 over the whole range, then in smaller steps about
each channel's best. This search is this package's own (AXE, arXiv 2409.17092, takes scales as
given). Needs NumPy only.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
# Takes scales [groups, channels]; gives integer weights [groups, K, channels] and the squared
# errors of their outputs [groups, channels].
Solver = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

_STEP = 2.0**0.5
_FINER = (2.0**0.25, 2.0**0.125)
# The largest weight may be clipped to this part of itself.
_LARGEST_CLIP = 0.5


def search(
    solve: Solver, weights: FloatArray, largest: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each channel's scale with the least error.

    Args:
        solve: Integer weights for scales, and their errors. Each channel's result depends on its
            own scale only.
        weights: The real weights, float64 [groups, K, channels].
        largest: 2^(M-1) - 1, the largest integer weight.

    Returns:
        Integer weights, scales [groups, channels] and squared errors [groups, channels].
    """
    peaks = np.abs(weights).max(axis=1)
    peaks = np.where(peaks > 0, peaks, peaks.max() or 1.0)
    steps = int(np.ceil(np.log(largest / _LARGEST_CLIP) / np.log(_STEP)))
    # From the largest weight as 1 to the largest weight twice as large as what M bits hold.
    scales = peaks
    q, errors = solve(scales)
    for step in range(1, steps + 1):
        q, scales, errors = _better(solve, peaks / _STEP**step, q, scales, errors)
    for factor in _FINER:
        about = scales
        for candidate in (about * factor, about / factor):
            q, scales, errors = _better(solve, candidate, q, scales, errors)
    return q, scales, errors


def _better(
    solve: Solver, candidate: FloatArray, q: FloatArray, scales: FloatArray, errors: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The better of two results, channel by channel."""
    other, other_errors = solve(candidate)
    better = other_errors < errors
    return (
        np.where(better[:, None], other, q),
        np.where(better, candidate, scales),
        np.where(better, other_errors, errors),
    )


def refit(q: FloatArray, scales: FloatArray, target: FloatArray, gram: FloatArray) -> FloatArray:
    """The scales with the least error for given integers: s = q·T / qᵀHq.

    Args:
        q: Integer weights, float64 [groups, K, channels].
        scales: Kept where all of a channel's integers are 0, or none of it helps.
        target: T = X̂(wᵀX)ᵀ, float64 [groups, K, channels].
        gram: H, float64 [groups, K, K].
    """
    energy = (q * (gram @ q)).sum(axis=1)
    product = (q * target).sum(axis=1)
    usable = (energy > 0) & (product > 0)
    return np.where(usable, product / np.where(usable, energy, 1.0), scales)
