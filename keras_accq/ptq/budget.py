"""What the accumulator still allows while a layer's weights are quantized one after the other.

AXE (arXiv 2409.17092, section 3) keeps, for each channel and tile, the sums of the positive and of
the negative weights chosen so far. The strict limit on the next weight is what the exact test of
`bounds` leaves, in 64-bit integers; the soft threshold shrinks all weights of a tile alike, so that
the first ones do not use the budget up. Needs NumPy only.
"""

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import accumulator_limit
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.projection import L1Projection

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Ledger:
    """The room that is left in each accumulator of a layer.

    With inputs in [a, b], a < 0 < b, a cell whose positive weights sum to Sp and whose negative
    ones to -Sn has b·Sp - a·Sn of its limit taken above and -a·Sp + b·Sn below.

    Args:
        operands: The layer's widths; its accumulator is constrained.
        k: Weights of a channel.
        groups: Groups of channels.
        channels: Channels of a group.
    """

    def __init__(self, operands: Operands, k: int, groups: int, channels: int) -> None:
        assert operands.acc_bits is not None
        low, high = operands.input_range
        self._low, self._high = -low, high
        self._largest = operands.largest
        cells = int(operands.partition.cells(k).max()) + 1
        # Room above and below.
        limit = accumulator_limit(operands.acc_bits)
        self._above = np.full((cells, groups, channels), limit, np.int64)
        self._below = self._above.copy()
        self._groups = np.arange(groups)

    def limits(self, cells: IntArray) -> tuple[IntArray, IntArray]:
        """The smallest and largest integer that the next weight may be.

        Args:
            cells: The cell of that weight in each group, [groups].

        Returns:
            int64 [groups, channels] each; the first never above 0, the second never below.
        """
        above, below = self._above[cells, self._groups], self._below[cells, self._groups]
        largest = np.minimum(above // self._high, below // self._low)
        smallest = np.minimum(below // self._high, above // self._low)
        np.minimum(largest, self._largest, out=largest)
        np.minimum(smallest, self._largest, out=smallest)
        return np.negative(smallest, out=smallest), largest

    def take(self, cells: IntArray, q: IntArray) -> None:
        """Enters integer weights within `limits`; of the negated ones `give` is the opposite.

        Args:
            cells: As for limits.
            q: int64 [groups, channels].
        """
        self._move(cells, q, 1)

    def give(self, cells: IntArray, q: IntArray) -> None:
        """Takes weights that were entered out again."""
        self._move(cells, q, -1)

    def _move(self, cells: IntArray, q: IntArray, sign: int) -> None:
        positive = np.maximum(q, 0)
        negative = positive - q
        positive, negative = sign * positive, sign * negative
        self._above[cells, self._groups] -= self._high * positive + self._low * negative
        self._below[cells, self._groups] -= self._low * positive + self._high * negative


class SoftThresholds:
    """The soft thresholds of a layer's tiles, for many weight scales.

    λ is the threshold that projects the tile, in units of the scale and less its mean, on the L1
    ball of radius (2^P - 2)/(b - a): what a tile of mean 0 may have.

    Args:
        weights: float64 [groups, K, channels], in file order.
        operands: The layer's widths.
    """

    def __init__(self, weights: FloatArray, operands: Operands) -> None:
        assert operands.acc_bits is not None
        groups, k, channels = weights.shape
        tile = k if operands.tile is None else min(operands.tile, k)
        self._shape = (-(-k // tile), groups, channels)
        rows = weights.transpose(1, 0, 2).reshape(k, -1)
        low, high = operands.input_range
        self._radius = 2 * accumulator_limit(operands.acc_bits) / (high - low)
        self._projections = []
        for start in range(0, k, tile):
            cell = rows[start : start + tile].T
            self._projections.append(L1Projection(cell - cell.mean(axis=1, keepdims=True)))

    def at(self, scales: FloatArray) -> FloatArray:
        """λ in units of the scale.

        Args:
            scales: float64 [groups, channels], positive.

        Returns:
            float64 [cells, groups, channels].
        """
        radii = scales.reshape(-1) * self._radius
        found = np.stack([projection.thresholds(radii) for projection in self._projections])
        return found.reshape(self._shape) / scales
