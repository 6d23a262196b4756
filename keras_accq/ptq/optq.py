"""OPTQ (GPTQ; Frantar et al., arXiv 2210.17323), as a triangular system for `greedy`.

The published form quantizes a weight, divides its error by the diagonal of U, where H⁻¹ = UᵀU with
U upper triangular, and moves all later weights by the error times U's row. With H = VVᵀ, V upper
triangular, U is V⁻¹, and the weight that step t quantizes is, in terms of the first weights w,

    w_t + Σ_{j<t} (w_j - q_j) V_jt / V_tt.

So one Cholesky decomposition is all, and nothing is inverted.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Added to the diagonal, as a part of its mean (arXiv 2210.17323, section 3.3).
DAMPING = 0.01


def damped(gram: FloatArray) -> FloatArray:
    """H with 1 % of its mean diagonal added to the diagonal; the unit matrix for H = 0."""
    k = gram.shape[-1]
    diagonal = np.arange(k)
    found = gram.copy()
    mean = found[:, diagonal, diagonal].mean(axis=1)
    found[:, diagonal, diagonal] += np.where(mean > 0, DAMPING * mean, 1.0)[:, None]
    return found


def system(weights: FloatArray, gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What `greedy` takes.

    Args:
        weights: Real weights, float64 [groups, K, channels], in the order of quantization.
        gram: H, float64 [groups, K, K], in the same order, not damped.

    Returns:
        The target in real units, [groups, K, channels], and the matrix Vᵀ.
    """
    # H with rows and columns reversed is LLᵀ; L reversed again is V.
    reversed_lower = np.linalg.cholesky(damped(gram)[:, ::-1, ::-1])
    lower = reversed_lower[:, ::-1, ::-1].transpose(0, 2, 1).astype(np.float64)
    return lower @ weights, lower
