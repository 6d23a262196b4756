"""Integers as they are: weights v that stand for q = round(v/s), held to the exact test.

What post-training methods write (`set_integer_weights` of a layer: v = s·q) is what the layer
computes with, for every matrix of integers that fits. Trained further, a cell whose rounded
weights do not fit has them lowered where that costs least, so that the guarantee stays.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.a2q import safe
from keras_accq.quantizers.cells import cell_length, cell_maxima, cell_sums, per_weight
from keras_accq.quantizers.method import Method
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.repair import round_and_repair
from keras_accq.quantizers.rounding import Repaired

_EXACT = 2.0**24
_BISECTIONS = 16


class Rounded(Method):
    """The container of post-training integers: the base of "round" and "axe"."""

    def rounding(self, depthwise: bool = False) -> Repaired:
        """See `Method.rounding`."""
        return Repaired()

    def initial(
        self, weights: NDArray[Any], scales: NDArray[Any], operands: Operands
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Float weights rounded to nearest and repaired: see `Method.initial`."""
        assert operands.acc_bits is not None
        q = round_and_repair(
            (weights / scales).T,
            operands.largest,
            operands.input_range,
            operands.acc_bits,
            operands.partition,
        )
        return self.holding(q.T, scales)

    def holding(
        self, q: NDArray[Any], scales: NDArray[Any]
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """v and the parameters that quantize to given integers.

        Args:
            q: int [K, C], which fit.
            scales: float [C], positive.
        """
        return (q * scales).astype(np.float32), {"log2_scale": np.log2(scales).astype(np.float32)}

    def quantize(self, v: Any, parameters: dict[str, Any], operands: Operands) -> tuple[Any, Any]:
        """Integers q [K, C] (as float32, with straight-through gradients) and scales s [C]."""
        scale = ops.exp2(parameters["log2_scale"])
        return integers(v / scale, operands), scale


def integers(units: Any, operands: Operands) -> Any:
    """The nearest integers of each cell if they fit; else those of |u| - θ, as float32.

    θ is the least threshold for which they fit, found by bisection to within 2^-16 of the cell's
    largest weight: the weights that it lowers are those whose lowering costs least (`repair`).
    Gradients pass through unchanged, but for weights beyond the largest integer.

    Args:
        units: u = v/s, float32 [K, C].
        operands: The layer's widths.
    """
    k = units.shape[0]
    largest = float(operands.largest)
    clipped = ops.clip(units, -largest, largest)
    magnitudes = ops.stop_gradient(ops.abs(clipped))
    positive = ops.stop_gradient(ops.cast(clipped > 0, units.dtype))

    def lowered(threshold: Any) -> Any:
        return ops.round(ops.relu(magnitudes - per_weight(threshold, k, operands)))

    def fits(threshold: Any) -> Any:
        return _fits(lowered(threshold), positive, operands)

    # All weights of a cell become 0 at a threshold of its largest: that fits.
    enough = cell_maxima(magnitudes, operands)
    short = ops.zeros_like(enough)
    enough = ops.where(fits(short), short, enough)

    def halved(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        short, enough = ends
        middle = (short + enough) / 2
        good = fits(middle)
        return ops.where(good, short, middle), ops.where(good, middle, enough)

    ends = short, enough
    if keras.backend.backend() == "jax":
        # Written out, XLA takes long to compile it; in TensorFlow a loop makes steps slower.
        ends = ops.fori_loop(0, _BISECTIONS, halved, ends)
    else:
        for i in range(_BISECTIONS):
            ends = halved(i, ends)
    _, enough = ends
    chosen = ops.sign(clipped) * lowered(enough)
    return clipped + ops.stop_gradient(chosen - clipped)


def _fits(magnitudes: Any, positive: Any, operands: Operands) -> Any:
    """Which cells pass the exact test, bool [cells, C].

    With h = 2^(N-1), n = ‖q‖₁ and m = min(Sp, Sn) of a cell, the exact test of inputs in
    [-h, h - 1] is h·n - m <= 2^(P-1) - 1, or h·(n - 2^(P-N)) < m. In float32 that is decided
    exactly: sums of integers that stay below 2^24 are exact in any order, and so are differences
    of them and products with powers of two (where 2^(P-N) is beyond 2^24, the difference is
    negative either way).

    Args:
        magnitudes: |q|, integers as float32 [K, C].
        positive: 1 for positive weights, 0 for others, likewise.
        operands: The layer's widths.
    """
    assert operands.acc_bits is not None
    norm = cell_sums(magnitudes, operands)
    above = cell_sums(magnitudes * positive, operands)
    spare = norm - 2.0 ** (operands.acc_bits - operands.input_bits)
    fits = -operands.input_range[0] * spare < ops.minimum(above, norm - above)
    if cell_length(magnitudes.shape[0], operands) * float(operands.largest) >= _EXACT:
        # A sum below half the limit can not have been inexact. Greater ones get A2Q's norm instead.
        fits = ops.logical_and(fits, norm < _EXACT / 2)
        fits = ops.logical_or(fits, norm <= safe(operands.radius, magnitudes, operands))
    return fits
