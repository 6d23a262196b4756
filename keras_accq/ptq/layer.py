"""One layer's integers: a solver, the scale search around it, and descent after it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keras_accq.ptq import gpfq, optq
from keras_accq.ptq.budget import SoftThresholds
from keras_accq.ptq.compensation import compensated
from keras_accq.ptq.descent import descend
from keras_accq.ptq.gram import Moments
from keras_accq.ptq.greedy import greedy
from keras_accq.ptq.scale_search import refit, search
from keras_accq.quantizers.axe import AXE
from keras_accq.quantizers.operands import Operands

FloatArray = NDArray[np.float64]

# Scales are fitted to the integers and the integers to the scales, in turn.
_REFITS = 2


@dataclass(frozen=True)
class Solution:
    """Integer weights.

    Attributes:
        q: float64 [groups, K, channels], integers that fit the accumulator.
        scales: float64 [groups, channels], the weights that the integer 1 stands for.
        errors: float64 [groups, channels], mean squared errors of the outputs.
    """

    q: FloatArray
    scales: FloatArray
    errors: FloatArray


def solve(
    weights: FloatArray, scales: FloatArray, moments: Moments, operands: Operands, method: AXE
) -> Solution:
    """A layer's integers.

    Args:
        weights: The float layer's, float64 [groups, K, channels], K in file order.
        scales: float64 [groups, channels], positive; not used where they are searched.
        moments: Of the layer's inputs; with `cross` for GPFQ.
        operands: The layer's widths; its accumulator is constrained.
        method: The options.
    """
    return _Problem(weights, moments, operands, method).solve(scales)


class _Problem:
    """Everything is kept in the order in which weights are quantized."""

    def __init__(
        self, weights: FloatArray, moments: Moments, operands: Operands, method: AXE
    ) -> None:
        groups, k, _ = weights.shape
        self._operands = operands
        self._method = method
        self._weights = weights
        wanted, moments = compensated(weights, moments, method.compensate)
        self._moments = moments
        order = _order(moments.gram, method)
        self._order = np.arange(groups)[:, None], order
        self._back = np.arange(groups)[:, None], np.argsort(order, axis=1)
        self._cells = operands.partition.cells(k)[order]
        self._gram = _rows_and_columns(moments.gram, order)
        if method.algorithm == "optq":
            system = optq.system(wanted[self._order], self._gram)
        else:
            assert moments.cross is not None
            cross = _rows_and_columns(moments.cross, order)
            # The sums over inputs up to each have the compensation in them already.
            wanted = weights
            system = gpfq.system(wanted[self._order], self._gram, cross)
        self._target, self._matrix = system
        self._thresholds = SoftThresholds(wanted, operands) if method.soft else None

    def solve(self, scales: FloatArray) -> Solution:
        if self._method.scale_search:
            q, scales, _ = search(self._greedy, self._weights, self._operands.largest)
        else:
            q, _ = self._greedy(scales)
        if self._method.sweeps:
            q, scales = self._descend(q, scales)
        return Solution(q, scales, self._moments.errors(q * scales[:, None]))

    def _greedy(self, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Integers, in file order, and squared errors."""
        thresholds = None if self._thresholds is None else self._thresholds.at(scales)
        target = self._target / scales[:, None]
        q = greedy(target, self._matrix, self._cells, self._operands, thresholds)[self._back]
        return q, self._moments.errors(q * scales[:, None])

    def _descend(self, q: FloatArray, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
        q, target = q[self._order], self._moments.target[self._order]
        for _ in range(_REFITS):
            if self._method.scale_search:
                scales = refit(q, scales, target, self._gram)
            q = descend(
                q,
                target / scales[:, None],
                self._gram,
                self._cells,
                self._operands,
                self._method.sweeps,
            )
        return q[self._back], scales


def _order(gram: FloatArray, method: AXE) -> NDArray[np.int64]:
    """The order of quantization, [groups, K]: file positions."""
    groups, k, _ = gram.shape
    if method.order == "file":
        return np.broadcast_to(np.arange(k), (groups, k))
    return np.argsort(-gram[:, np.arange(k), np.arange(k)], axis=1, kind="stable")


def _rows_and_columns(matrix: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    """Matrices [groups, K, K] with both axes in another order."""
    groups = np.arange(len(matrix))[:, None, None]
    return matrix[groups, order[:, :, None], order[:, None, :]]
