"""GPFQ, greedy path following quantization (Lybrand and Saab, JMLR 2021; Zhang, Zhou and Saab,
arXiv 2201.11113), as a triangular system for `greedy`.

Step t chooses q_t to bring Σ_{j<=t} q_j X̂_j as near as it can to Σ_{j<=t} w_j X_j, with X_j the
values that input j took in the float model and X̂_j those in the quantized one:

    q_t = round(⟨X̂_t, Σ_{j<=t} w_j X_j - Σ_{j<t} q_j X̂_j⟩ / ‖X̂_t‖²),

which needs the Gram matrices H = X̂X̂ᵀ and G = X̂Xᵀ only.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def system(
    weights: FloatArray, gram: FloatArray, cross: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What `greedy` takes.

    An input that was always 0 says nothing about its weight, which is then rounded as it is.

    Args:
        weights: Real weights, float64 [groups, K, channels], in the order of quantization.
        gram: H, float64 [groups, K, K], in the same order.
        cross: G, likewise.

    Returns:
        The target in real units, [groups, K, channels], and the matrix.
    """
    matrix = gram.copy()
    target = np.tril(cross) @ weights
    positions = np.arange(gram.shape[-1])
    diagonal = matrix[:, positions, positions]
    dead = diagonal <= 1e-12 * diagonal.max(axis=1, keepdims=True)
    group, position = np.nonzero(dead)
    matrix[group, position] = 0.0
    matrix[group, position, position] = 1.0
    target[group, position] = weights[group, position]
    return target, matrix
