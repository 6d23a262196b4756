"""Integers as they are: weights v that stand for q = round(v/s), held to the exact test.

What post-training methods write (`set_integer_weights` of a layer: v = s·q) is what the layer
computes with, for every matrix of integers that fits. Trained further, a cell whose rounded
weights do not fit is scaled to A2Q's L1 norm and rounded toward zero instead (`a2q.integers` has
the proof), so that the guarantee stays.
"""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.a2q import SMALLEST_NORM, safe
from keras_accq.quantizers.cells import cell_length, cell_sums, per_weight
from keras_accq.quantizers.method import Method
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.repair import round_and_repair
from keras_accq.quantizers.rounding import Repaired

_EXACT = 2.0**24


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
    """The nearest integers of each cell if they fit, else smaller ones, as float32.

    With h = 2^(N-1), n = ‖q‖₁ and m = min(Sp, Sn) of a cell, the exact test of inputs in
    [-h, h - 1] is h·n - m <= 2^(P-1) - 1, or h·(n - 2^(P-N)) < m. In float32 that is decided
    exactly: sums of integers that stay below 2^24 are exact in any order, and so are differences
    of them and products with powers of two (where 2^(P-N) is beyond 2^24, the difference is
    negative either way).

    Args:
        units: v/s, float32 [K, C].
        operands: The layer's widths.
    """
    assert operands.acc_bits is not None
    k = units.shape[0]
    largest = float(operands.largest)
    clipped = ops.clip(units, -largest, largest)
    nearest = ops.round(clipped)
    positive = cell_sums(ops.relu(nearest), operands)
    negative = cell_sums(ops.relu(-nearest), operands)
    norm = positive + negative
    spare = norm - 2.0 ** (operands.acc_bits - operands.input_bits)
    fits = -operands.input_range[0] * spare < ops.minimum(positive, negative)
    if cell_length(k, operands) * largest >= _EXACT:
        # A sum below half the limit can not have been inexact.
        fits = ops.logical_and(fits, norm < _EXACT / 2)
    radius = safe(operands.radius, units, operands)
    norms = cell_sums(ops.abs(clipped), operands)
    factor = ops.where(fits, 1.0, ops.minimum(1.0, radius / ops.maximum(norms, SMALLEST_NORM)))
    limited = clipped * per_weight(factor, k, operands)
    chosen = ops.where(per_weight(fits, k, operands), nearest, ops.trunc(limited))
    return limited + ops.stop_gradient(chosen - limited)
