"""A2Q+ (Colbert et al., arXiv 2401.10432): zero-centred weights and the bound that they allow.

Where the positive and the negative weights of a cell have one norm, neither beyond

    H = L / (b' - a') = (2^(P-1) - 1) / (2^N - 1),

inputs in [a, b] (a' = min(a, 0), b' = max(b, 0)) keep every sum within L. So the L1 norm may reach
T₊ = 2H = (2^P - 2) / (2^N - 1), and each channel's weights are

    w = (v - μ)/‖v - μ‖₁ · min(g, s·T₊),    q = clip(trunc(w/s), ±(2^(M-1) - 1)),

with μ the mean of v, a learned norm g = 2^t and scale s = 2^d, as in A2Q. q itself need not sum to
zero. With a tile each cell is centred and limited on its own. Cells of a depthwise layer, and any
of fewer than 16 weights, are left uncentred and get A2Q's budget for centred inputs: centring takes
one of few degrees of freedom from them, for a budget that is larger by 1/(2^N - 1) only.
"""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.a2q import A2Q, safe, scaled
from keras_accq.quantizers.a2q import integers as a2q_integers
from keras_accq.quantizers.cells import cell_sums, per_weight
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import (
    CENTRED_FROM,
    CentredTruncated,
    Truncated,
    half_radius,
)


@keras.saving.register_keras_serializable(package="keras_accq")
class A2QPlus(A2Q):
    """The method "a2q+" and its settings.

    Args:
        regularization: Weight of the penalty Σ relu(g - s·T₊). At least 0.

    Raises:
        ValueError: A negative or not finite weight.
    """

    name: ClassVar[str] = "a2q+"

    def rounding(self, depthwise: bool = False) -> Truncated | CentredTruncated:
        """See `Method.rounding`."""
        return Truncated() if depthwise else CentredTruncated()

    def _integers(self, v: Any, norm: Any, operands: Operands) -> Any:
        return integers(v, norm, operands)

    def _norms(self, v: Any, operands: Operands) -> tuple[Any, Any]:
        is_centred = _is_centred(v.shape[0], operands)
        if not is_centred.any():
            return super()._norms(v, operands)
        radius = np.where(is_centred, 2 * _half(operands), operands.radius)
        return cell_sums(ops.abs(centred(v, operands)), operands), _constant(radius, v)


def integers(v: Any, norm: Any, operands: Operands) -> Any:
    """A2Q+'s integer weights as float32, with straight-through gradients.

    The integers fit exactly, not only up to rounding, for every result that is not NaN, and
    whatever the centring computes. With c the float32 numbers that stand for v - μ, and p, n the
    true sums of a cell's positive ones and of its negative ones' magnitudes:
      - Both are sums of terms of one sign, so p^ >= p·(1-u)^m, and so with n (see `a2q.integers`,
        also for u, m and numbers flushed to zero).
      - The factor is at most fl(R/max(p^, n^)). So the scaled positive terms sum to at most
        R·(1+u)^3·(1-u)^-m·(1 + k·2^-36) <= R / (1 - (m+10)·2^-23) = H, and the negative ones too:
        that needs nothing of c but its signs.
      - Scaling by a positive factor, trunc and a symmetric clip keep signs and shrink magnitudes:
        Sp <= H and Sn <= H.
      - b'·Sp - a'·Sn <= (b' - a')·H = L, and the same with Sp and Sn exchanged.
    Cells that are not centred are A2Q's, with its proof.

    Args:
        v: float32 [K, C].
        norm: g/s, float32 [C], the L1 norm wanted, in units of the scale.
        operands: The layer's widths.

    Returns:
        [K, C], integers within ±`operands.largest`.
    """
    is_centred = _is_centred(v.shape[0], operands)
    if not is_centred.any():
        return a2q_integers(v, norm, operands, operands.radius)
    c = centred(v, operands)
    positive = cell_sums(ops.relu(c), operands)
    negative = cell_sums(ops.relu(-c), operands)
    norms, sums = positive + negative, ops.maximum(positive, negative)
    limits: Any = safe(_half(operands), v, operands)
    if not is_centred.all():
        sums = ops.where(is_centred, sums, norms)
        whole = safe(operands.radius, v, operands)
        limits = _constant(np.where(is_centred, limits, whole), v)
    return scaled(c, norm, norms, sums, limits, operands)


def centred(v: Any, operands: Operands) -> Any:
    """v less the mean of each cell that is centred: [K, C]."""
    k = v.shape[0]
    shares = np.where(_is_centred(k, operands), 1 / _lengths(k, operands), 0.0)
    # Divided before they are summed: huge weights must not make an infinite mean.
    each = np.repeat(shares, _lengths(k, operands)[:, 0], axis=0)
    means = cell_sums(v * _constant(each, v), operands)
    return v - per_weight(means, k, operands)


def _is_centred(k: int, operands: Operands) -> NDArray[np.bool_]:
    """Which cells are: bool [cells, 1]."""
    return (_lengths(k, operands) >= CENTRED_FROM) & (not operands.depthwise)


def _lengths(k: int, operands: Operands) -> NDArray[np.int64]:
    """The weights of each cell: [cells, 1]."""
    return np.bincount(operands.partition.cells(k))[:, None]


def _half(operands: Operands) -> float:
    """H."""
    assert operands.acc_bits is not None
    return half_radius(operands.acc_bits, operands.input_bits)


def _constant(array: NDArray[Any], v: Any) -> Any:
    """A tensor: PyTorch's do not mix with arrays."""
    dtype = keras.backend.standardize_dtype(v.dtype)
    return array.astype(dtype) if isinstance(v, np.ndarray) else ops.convert_to_tensor(array, dtype)
