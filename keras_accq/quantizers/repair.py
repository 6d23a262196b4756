"""Rounding to nearest within an accumulator's exact test, in NumPy.

Lowering |q| by one costs 2(|u| - |q|) + 1 in squared error, and each further step two more. So the
cheapest steps in any number are those of rounding |u| - θ for a θ that grows, and the least θ at
which the exact test holds is where to stop; weights that reach a half at one θ are lowered one by
one. θ lies between those of the L1 projections on the largest norm that can fit, T₊, and on the
one that always fits, T, give or take the half that rounding adds; or below, if weights are clipped.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_accq.bounds import ALL, Partition, accumulator_limit, widened_range
from keras_accq.quantizers.projection import L1Projection

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def round_and_repair(
    units: ArrayLike,
    largest: int,
    input_range: tuple[int, int],
    acc_bits: int,
    partition: Partition = ALL,
) -> IntArray:
    """The integers nearest to real weights, lowered where they do not fit.

    Args:
        units: float [channels, K], weights divided by their scales, K in file order.
        largest: The largest |q|.
        input_range: Stored inputs, (a, b).
        acc_bits: P, 2..32.
        partition: The cells that each have an accumulator.

    Returns:
        int64 [channels, K], which fit.
    """
    u = np.asarray(units, np.float64)
    cells = partition.cells(u.shape[1])
    q = np.zeros(u.shape, np.int64)
    for cell in range(int(cells.max(initial=-1)) + 1):
        at = cells == cell
        repair = Repair(u[:, at])
        q[:, at] = repair.integers(np.ones(len(u)), largest, input_range, acc_bits)
    return q


class Repair:
    """Rows of weights, each with an accumulator of its own, to be rounded many ways.

    Args:
        rows: float [rows, n].
    """

    def __init__(self, rows: ArrayLike) -> None:
        weights = np.asarray(rows, np.float64)
        self._magnitudes, self._positive = np.abs(weights), weights > 0
        self._projection = L1Projection(weights)

    def integers(
        self, scales: FloatArray, largest: int, input_range: tuple[int, int], acc_bits: int
    ) -> IntArray:
        """int64 [rows, n] that fit.

        Args:
            scales: float64 [rows], positive: the weight that the integer 1 stands for.
            largest: The largest |q|.
            input_range: Stored inputs, (a, b).
            acc_bits: P, 2..32.
        """
        low, high = widened_range(*input_range)
        limit = accumulator_limit(acc_bits)
        q = _rounded(self._magnitudes / scales[:, None], 0.0, largest)
        over = np.flatnonzero(~_fits(*self._sums(q, slice(None)), low, high, limit))
        if over.size:
            always, never = limit / max(high, -low), 2 * limit / (high - low)
            at = [self._projection.thresholds(scales * r) / scales for r in (never, always)]
            lower, upper = np.maximum(at[0][over] - 0.5, 0.0), at[1][over] + 0.5
            q[over] = self._lowered(over, scales, lower, upper, largest, (low, high, limit))
        return np.where(self._positive, q, -q).astype(np.int64)

    def _lowered(
        self,
        rows: IntArray,
        scales: FloatArray,
        lower: FloatArray,
        upper: FloatArray,
        largest: int,
        test: tuple[int, int, int],
    ) -> FloatArray:
        """|q| of rows that do not fit at the threshold 0, but do at `upper`."""
        magnitudes = self._magnitudes[rows] / scales[rows][:, None]
        # Where clipping takes much of the norm, less than the projection's threshold is enough.
        early = _fits(*self._sums(_rounded(magnitudes, lower, largest), rows), *test)
        lower, upper = np.where(early, 0.0, lower), np.where(early, lower, upper)
        # In an interval of 1 each weight is lowered once at most.
        while (upper - lower).max() > 1:
            middle = (lower + upper) / 2
            inside = _fits(*self._sums(_rounded(magnitudes, middle, largest), rows), *test)
            lower, upper = np.where(inside, lower, middle), np.where(inside, middle, upper)
        q = _rounded(magnitudes, lower, largest)
        # Where |u| - θ reaches a half, and rounding takes the lower integer.
        lowered_at = np.where(q > 0, magnitudes - q + 0.5, np.inf)
        order = np.argsort(lowered_at, axis=1, kind="stable")
        positive, negative = self._sums(q, rows)
        steps = np.cumsum(np.take_along_axis(self._positive[rows], order, axis=1), axis=1)
        others = np.arange(1, order.shape[1] + 1) - steps
        fits = _fits(positive[:, None] - steps, negative[:, None] - others, *test)
        first = np.where(_fits(positive, negative, *test), 0, fits.argmax(axis=1) + 1)
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
        return q - (ranks < first[:, None])

    def _sums(self, q: FloatArray, rows: IntArray | slice) -> tuple[FloatArray, FloatArray]:
        positive = np.where(self._positive[rows], q, 0.0).sum(axis=1)
        return positive, q.sum(axis=1) - positive


def _rounded(magnitudes: FloatArray, theta: FloatArray | float, largest: int) -> FloatArray:
    """To nearest, halves down, of |u| - θ, and not below 0."""
    shift = np.asarray(theta)[..., None] if np.ndim(theta) else theta
    return np.clip(np.ceil(magnitudes - shift - 0.5), 0, largest)


def _fits(sp: FloatArray, sn: FloatArray, low: int, high: int, limit: int) -> NDArray[np.bool_]:
    """The exact test of `bounds`; float64 holds these integers, below 2^53, exactly."""
    return np.maximum(high * sp - low * sn, high * sn - low * sp) <= limit
