"""How each method turns float weights into integers, in NumPy: for starting values and estimates.

A rounding prepares rows of weights once (one row is one cell of one channel: the weights that
share an accumulator) and then gives their integers for any scales and widths, as the fill rule
(`fill.py`) asks for hundreds of combinations.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import Partition, accumulator_limit, operand_range, type_bound_bits
from keras_accq.errors import BudgetError
from keras_accq.quantizers.projection import L1Projection
from keras_accq.quantizers.repair import Repair

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Cells of fewer weights are not centred: that takes a share of 1/length of what they can express.
CENTRED_FROM = 16


def l1_radius(acc_bits: int, input_bits: int) -> float:
    """T_int, the real L1 norm of integer weights that P bits allow for stored, centred inputs.

    L / 2^(N-1): A2Q (arXiv 2308.13504, equation 9) for inputs in [-2^(N-1), 2^(N-1) - 1]. Never an
    integer, as L is odd: so weights rounded toward zero stay below it in spite of rounding errors.
    """
    return accumulator_limit(acc_bits) / -operand_range(input_bits)[0]


def half_radius(acc_bits: int, input_bits: int) -> float:
    """What P bits leave for Sp and for Sn each: L / (2^N - 1).

    Half of T₊ = (2^P - 2) / (2^N - 1) of A2Q+ (arXiv 2401.10432): with neither sum
    beyond it, b'·Sp - a'·Sn <= (b' - a')·L / (2^N - 1) = L, and the same with signs exchanged.
    """
    low, high = operand_range(input_bits)
    return accumulator_limit(acc_bits) / (high - low)


class Prepared(Protocol):
    """Rows of weights, ready to be quantized many ways."""

    def integers(
        self, scales: FloatArray, acc_bits: int, input_bits: int, weight_bits: int
    ) -> FloatArray:
        """q, float64 of the rows' shape: integers that fit.

        Args:
            scales: float64 [rows], the weight that the integer 1 stands for.
            acc_bits: P.
            input_bits: N.
            weight_bits: M.
        """
        ...


class Rounding:
    """The base of all roundings."""

    def prepare(self, rows: FloatArray, lengths: IntArray) -> Prepared:
        """Weights to be quantized.

        Args:
            rows: float64 [rows, width], one cell each; shorter ones end in zeros.
            lengths: int64 [rows], the weights of each cell.
        """
        raise NotImplementedError

    def radius(self, acc_bits: int, input_bits: int) -> float:
        """The L1 norm that a cell's integers may have whatever their signs."""
        return l1_radius(acc_bits, input_bits)

    def least_acc_bits(self, input_bits: int, weight_bits: int, length: int) -> int:
        """The narrowest accumulator that leaves any weight but 0.

        Args:
            input_bits: N.
            weight_bits: M.
            length: Weights of the longest cell.
        """
        return input_bits + 1

    def check(self, acc_bits: int, input_bits: int, weight_bits: int, length: int) -> None:
        """Refuses accumulators narrower than `least_acc_bits`.

        Raises:
            BudgetError: The text names the least P.
        """
        least = self.least_acc_bits(input_bits, weight_bits, length)
        if acc_bits < least:
            raise BudgetError(
                f"{acc_bits} accumulator bits hold no product of a {input_bits}-bit input with "
                f"the weight 1; expected acc_bits >= {least} or a smaller input_bits"
            )


@dataclass(frozen=True)
class Truncated(Rounding):
    """A2Q's: projection on an L1 ball, then rounding toward zero.

    Attributes:
        unsigned: Take the inputs for unsigned, as the paper does for activations after a ReLU: the
            radius is L / 2^N, half of what stored, centred inputs allow.
    """

    unsigned: bool = False

    def radius(self, acc_bits: int, input_bits: int) -> float:
        """See `Rounding.radius`."""
        return l1_radius(acc_bits, input_bits) / (2 if self.unsigned else 1)

    def least_acc_bits(self, input_bits: int, weight_bits: int, length: int) -> int:
        """See `Rounding.least_acc_bits`."""
        return input_bits + (2 if self.unsigned else 1)

    def prepare(self, rows: FloatArray, lengths: IntArray) -> "_Ball":
        """See `Rounding.prepare`."""
        return _Ball(self, rows)


class _Ball:
    def __init__(self, rounding: Truncated, rows: FloatArray) -> None:
        self._rounding = rounding
        self._magnitudes, self._signs = np.abs(rows), np.sign(rows)
        self._projection = L1Projection(rows)

    def projected(self, scales: FloatArray, acc_bits: int, input_bits: int) -> FloatArray:
        """The nearest real weights within the budget."""
        return self._signs * self._shrunk(scales, acc_bits, input_bits)

    def integers(
        self, scales: FloatArray, acc_bits: int, input_bits: int, weight_bits: int
    ) -> FloatArray:
        shrunk = self._shrunk(scales, acc_bits, input_bits)
        return self._signs * _truncated(shrunk, scales, weight_bits)

    def _shrunk(self, scales: FloatArray, acc_bits: int, input_bits: int) -> FloatArray:
        theta = self._projection.thresholds(scales * self._rounding.radius(acc_bits, input_bits))
        return np.maximum(self._magnitudes - theta[:, None], 0.0)


def _truncated(magnitudes: FloatArray, scales: FloatArray, weight_bits: int) -> FloatArray:
    # A hair more than the quotient, as trunc would turn the largest weight at level 7 into 6.
    units = magnitudes / scales[:, None] * (1 + 1e-12)
    return np.minimum(np.trunc(units), operand_range(weight_bits)[1])


@dataclass(frozen=True)
class CentredTruncated(Rounding):
    """A2Q+'s: cells are centred, and their positive and negative parts projected on half T₊ each.

    That is the Euclidean projection of the centred cell on the weights that fit, and as both parts
    of a centred cell have one norm, its result is centred again. Short cells (`CENTRED_FROM`) are
    rounded as A2Q's.
    """

    def prepare(self, rows: FloatArray, lengths: IntArray) -> "_CentredBall":
        """See `Rounding.prepare`."""
        return _CentredBall(rows, lengths)


class _CentredBall:
    def __init__(self, rows: FloatArray, lengths: IntArray) -> None:
        self._centred = lengths >= CENTRED_FROM
        means = np.where(self._centred, rows.sum(axis=1) / np.maximum(lengths, 1), 0.0)
        inside = np.arange(rows.shape[1]) < lengths[:, None]
        centred = np.where(inside, rows - means[:, None], 0.0)
        self._magnitudes, self._signs = np.abs(centred), np.sign(centred)
        # A row that is not centred has one threshold, for the norm of all its weights.
        alone = self._centred[:, None]
        self._positive = L1Projection(np.where(alone & (centred < 0), 0.0, centred))
        self._negative = L1Projection(np.where(alone & (centred > 0), 0.0, centred))

    def projected(self, scales: FloatArray, acc_bits: int, input_bits: int) -> FloatArray:
        """The nearest real weights within the budget."""
        return self._signs * self._shrunk(scales, acc_bits, input_bits)

    def integers(
        self, scales: FloatArray, acc_bits: int, input_bits: int, weight_bits: int
    ) -> FloatArray:
        shrunk = self._shrunk(scales, acc_bits, input_bits)
        return self._signs * _truncated(shrunk, scales, weight_bits)

    def _shrunk(self, scales: FloatArray, acc_bits: int, input_bits: int) -> FloatArray:
        radii = scales * np.where(
            self._centred, half_radius(acc_bits, input_bits), l1_radius(acc_bits, input_bits)
        )
        positive, negative = self._positive.thresholds(radii), self._negative.thresholds(radii)
        theta = np.where(self._signs > 0, positive[:, None], negative[:, None])
        return np.maximum(self._magnitudes - theta, 0.0)


@dataclass(frozen=True)
class Repaired(Rounding):
    """To nearest, then as many of the least harmful integers lowered as the exact test asks."""

    def prepare(self, rows: FloatArray, lengths: IntArray) -> "_Repaired":
        """See `Rounding.prepare`."""
        return _Repaired(rows)


class _Repaired:
    def __init__(self, rows: FloatArray) -> None:
        self._repair = Repair(rows)

    def integers(
        self, scales: FloatArray, acc_bits: int, input_bits: int, weight_bits: int
    ) -> FloatArray:
        q = self._repair.integers(
            scales, operand_range(weight_bits)[1], operand_range(input_bits), acc_bits
        )
        return q.astype(np.float64)


@dataclass(frozen=True)
class Nearest(Rounding):
    """To nearest, whatever the weights: only widths that fit by their types are allowed."""

    def prepare(self, rows: FloatArray, lengths: IntArray) -> "_Nearest":
        """See `Rounding.prepare`."""
        return _Nearest(rows)

    def least_acc_bits(self, input_bits: int, weight_bits: int, length: int) -> int:
        """The type bound for stored (signed) inputs: A2Q (arXiv 2308.13504), equation 3."""
        return type_bound_bits(length, input_bits, weight_bits, signed_inputs=True)

    def check(self, acc_bits: int, input_bits: int, weight_bits: int, length: int) -> None:
        """See `Rounding.check`."""
        least = self.least_acc_bits(input_bits, weight_bits, length)
        if acc_bits < least:
            raise BudgetError(
                f"{acc_bits} accumulator bits do not hold {length} products of {input_bits}-bit "
                f"inputs and {weight_bits}-bit weights by their types; expected acc_bits >= "
                f"{least}, smaller widths or a tile"
            )


@dataclass(frozen=True)
class _Nearest:
    rows: FloatArray

    def integers(
        self, scales: FloatArray, acc_bits: int, input_bits: int, weight_bits: int
    ) -> FloatArray:
        largest = operand_range(weight_bits)[1]
        return np.clip(np.rint(self.rows / scales[:, None]), -largest, largest)


class Cells:
    """The cells of a partition of [channels, K], as rows of one width and back.

    Attributes:
        lengths: int64 [cells], the weights of each.
    """

    def __init__(self, partition: Partition, k: int) -> None:
        cells = partition.cells(k)
        self._k = k
        self.lengths = np.bincount(cells).astype(np.int64)
        # k stands for the padding of shorter cells.
        self._columns = np.full((self.lengths.size, int(self.lengths.max(initial=0))), k, np.int64)
        for cell, length in enumerate(self.lengths):
            self._columns[cell, :length] = np.flatnonzero(cells == cell)

    def rows(self, weights: NDArray[Any]) -> FloatArray:
        """float64 [channels · cells, width]; the cells of a channel follow one another."""
        padded = np.concatenate([weights, np.zeros((len(weights), 1))], axis=1)
        return padded[:, self._columns].reshape(-1, self._columns.shape[1])

    def weights(self, rows: NDArray[Any]) -> NDArray[Any]:
        """[channels, K] of such rows."""
        channels = len(rows) // max(self.lengths.size, 1)
        padded = np.zeros((channels, self._k + 1), rows.dtype)
        padded[:, self._columns.reshape(-1)] = rows.reshape(channels, -1)
        return padded[:, : self._k]

    def per_row(self, per_channel: FloatArray) -> FloatArray:
        """[channels] as one value per row."""
        return np.repeat(per_channel, self.lengths.size)
