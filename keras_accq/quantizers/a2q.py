"""A2Q, accumulator-aware quantization (Colbert et al., arXiv 2308.13504), as `keras.ops`.

Each output channel's weights are w = g·v/‖v‖₁ with a learned norm g = 2^t and a learned scale
s = 2^d. In units of s,

    q = clip(trunc(min(g/s, T)·v/‖v‖₁), ±(2^(M-1) - 1)),

with T the L1 norm that the accumulator leaves (`Operands.radius`). Rounding toward zero and
clipping only shrink |q|, so ‖q‖₁ <= T whatever the weights are. With a tile, each cell of w is
scaled down on its own until its norm is at most s·T. Initial values follow A2Q+
(arXiv 2401.10432, section 4.1): the Euclidean projection of float weights on the L1 ball.
With inputs stored centred, T is L / 2^(N-1); the paper's convention for unsigned inputs, with half
as much, is `A2QUnsigned`.

Functions take matrices [K, C] (K in file order: kh, kw, cin) in float32, on any Keras backend.
"""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.cells import additions, cell_sums, per_weight
from keras_accq.quantizers.method import Method
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import Cells, CentredTruncated, Truncated
from keras_accq.quantizers.straight_through import truncate

# Weights that stand for integers (a stripped model's, say) arrive an ulp or so below them, and
# trunc would take a whole unit off. All are enlarged by this many ulps before T limits them.
_NUDGE = 16

# Channels and cells of a smaller norm are taken as zero: far above denormal numbers, which some
# devices flush to zero in one operation and not in another.
SMALLEST_NORM = 2.0**-90


@keras.saving.register_keras_serializable(package="keras_accq")
class A2Q(Method):
    """The method "a2q" and its settings.

    Args:
        regularization: Weight of the penalty Σ relu(g - s·T), which pulls back norms beyond the
            limit, where the loss has no gradient for g. At least 0.

    Raises:
        ValueError: A negative or not finite weight.
    """

    name: ClassVar[str] = "a2q"
    parameters: ClassVar[tuple[str, ...]] = ("log2_scale", "log2_norm")

    def __init__(self, regularization: float = 1e-3) -> None:
        if not 0 <= regularization < float("inf"):
            raise ValueError(
                f"regularization: expected a number of at least 0, received {regularization!r}"
            )
        self.regularization = float(regularization)

    def rounding(self, depthwise: bool = False) -> Truncated | CentredTruncated:
        """See `Method.rounding`."""
        return Truncated()

    def initial(
        self, weights: NDArray[Any], scales: NDArray[Any], operands: Operands
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """v and the parameters that stand for float weights, as near as the budget allows.

        A2Q+ (arXiv 2401.10432), section 4.1: the Euclidean projection on what the budget allows.
        See `Method.initial`.
        """
        assert operands.acc_bits is not None
        k, channels = weights.shape
        cells = Cells(operands.partition, k)
        rows = self.rounding(operands.depthwise).prepare(
            cells.rows(np.asarray(weights, np.float64).T), np.tile(cells.lengths, channels)
        )
        v = cells.weights(
            rows.projected(cells.per_row(scales), operands.acc_bits, operands.input_bits)
        ).T
        norms = np.abs(v).sum(axis=0)
        # A channel of zeros stays zero for any norm; its scale is one that a logarithm has.
        norms = np.where(norms > 0, norms, scales)
        return v.astype(np.float32), {
            "log2_scale": np.log2(scales).astype(np.float32),
            "log2_norm": np.log2(norms).astype(np.float32),
        }

    def quantize(self, v: Any, parameters: dict[str, Any], operands: Operands) -> tuple[Any, Any]:
        """Integers q [K, C] (as float32, with straight-through gradients) and scales s [C]."""
        d, t = parameters["log2_scale"], parameters["log2_norm"]
        return self._integers(v, ops.exp2(t - d), operands), ops.exp2(d)

    def penalty(self, v: Any, parameters: dict[str, Any], operands: Operands) -> Any:
        """Σ relu(‖w_cell‖₁ - s·T) over channels and cells, times the regularization: a scalar."""
        cell_norms, radius = self._norms(v, operands)
        share = cell_norms / ops.maximum(ops.sum(cell_norms, axis=0), SMALLEST_NORM)
        excess = ops.exp2(parameters["log2_norm"]) * share - (
            ops.exp2(parameters["log2_scale"]) * radius
        )
        return self.regularization * ops.sum(ops.relu(excess))

    def _radius(self, operands: Operands) -> float:
        """T."""
        return operands.radius

    def _integers(self, v: Any, norm: Any, operands: Operands) -> Any:
        return integers(v, norm, operands, self._radius(operands))

    def _norms(self, v: Any, operands: Operands) -> tuple[Any, Any]:
        """Norms of the cells, [cells, C], and what they may reach in units of s."""
        return cell_sums(ops.abs(v), operands), self._radius(operands)


def integers(v: Any, norm: Any, operands: Operands, radius: float) -> Any:
    """A2Q's integer weights as float32, with straight-through gradients.

    ‖q‖₁ <= T holds exactly, not only up to rounding, for every result that is not NaN (as NaN and
    infinite weights give). With u = 2^-24 the unit roundoff, k the length of a cell, n its true
    norm, ^ for what float32 computes, and each weight going through at most m additions
    (`cells.additions`; m >= 2√k - 2):
      - n^ >= n·(1-u)^m for any order of the sums, as their terms have one sign (fused
        multiply-adds only help); numbers flushed to zero take off less than k·2^-36 of
        n^ >= 2^-90.
      - Each |v_i·c^| is at most |v_i|·R/n^·(1+u)^3 for c^ <= fl(R/n^).
      - So Σ|v_i·c^| <= R·(1+u)^3·(1-u)^-m·(1 + k·2^-36) <= R / (1 - (m+10)·2^-23), as long as
        (m+10)·2^-23 <= 1/2 and k <= 2^25.
      - R = T·(1 - (m+10)·2^-23) keeps the sum at most T, and trunc and clip only shrink its terms.
    `norm` may be wrong in any way: it can only choose a smaller factor. In float64 the same holds
    with its own unit roundoff, 2^-53.

    Args:
        v: float32 [K, C].
        norm: g/s, float32 [C], the L1 norm wanted, in units of the scale.
        operands: The layer's widths.
        radius: T, the L1 norm that a cell may reach.

    Returns:
        [K, C], integers within ±`operands.largest`.
    """
    sums = cell_sums(ops.abs(v), operands)
    return scaled(v, norm, sums, sums, safe(radius, v, operands), operands)


def scaled(v: Any, norm: Any, norms: Any, sums: Any, limits: Any, operands: Operands) -> Any:
    """The integers of weights scaled to a norm, or to less where sums would pass their limits.

    Args:
        v: float32 [K, C].
        norm: float32 [C], the L1 norm wanted.
        norms: float32 [cells, C], L1 norms of the cells of v.
        sums: float32 [cells, C], what is limited of each cell of v.
        limits: What the sums may reach, `safe`: a number, or [cells, 1].
        operands: The layer's widths.
    """
    total = ops.sum(norms, axis=0)
    factor = ops.minimum(
        (1 + _NUDGE * _epsilon(v)) * norm / ops.maximum(total, SMALLEST_NORM),
        limits / ops.maximum(sums, SMALLEST_NORM),
    )
    # Not 1/tiny: a channel of zeros would get an enormous gradient and never come back.
    factor = ops.where(total > SMALLEST_NORM, factor, 0.0)
    largest = float(operands.largest)
    return truncate(ops.clip(v * per_weight(factor, v.shape[0], operands), -largest, largest))


def safe(radius: float, v: Any, operands: Operands) -> float:
    """R of the proof in `integers`: less than T by what sums over the cells of v may lose."""
    return radius * (1 - (additions(v.shape[0], operands) + 10) * _epsilon(v))


def _epsilon(v: Any) -> float:
    """The spacing of floats above 1: 2^-23, or 2^-52 for the float64 arrays of a comparison."""
    return float(np.finfo(keras.backend.standardize_dtype(v.dtype)).eps)
