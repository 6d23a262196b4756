"""Rounding to nearest within an accumulator's exact test, in NumPy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_accq.bounds import ALL, Partition, fits

IntArray = NDArray[np.int64]
_STEPS = 40


def round_and_repair(
    units: ArrayLike,
    largest: int,
    input_range: tuple[int, int],
    acc_bits: int,
    partition: Partition = ALL,
) -> IntArray:
    """The integers nearest to real weights, made smaller where they do not fit.

    Lowering |q| by one costs 2(|u| - |q|) + 1 in squared error, and two more for each further
    step. Taking the cheapest step again and again until the exact test holds is best for a bound
    on the L1 norm, and the same as rounding |u| - θ for the least θ that fits, up to ties: θ is
    found by bisection per cell, and ties are then lowered one by one.

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
        q[:, at] = _cell(u[:, at], largest, input_range, acc_bits)
    return q


def _cell(
    u: NDArray[np.float64], largest: int, input_range: tuple[int, int], acc_bits: int
) -> IntArray:
    def shrunk(rows: NDArray[np.float64], theta: NDArray[np.float64]) -> IntArray:
        magnitudes = np.minimum(np.rint(np.maximum(np.abs(rows) - theta[:, None], 0.0)), largest)
        return (np.sign(rows) * magnitudes).astype(np.int64)

    q = shrunk(u, np.zeros(len(u)))
    over = np.flatnonzero(~fits(q, *input_range, acc_bits))
    if over.size == 0:
        return q
    rows = u[over]
    low, high = np.zeros(over.size), np.abs(rows).max(axis=1)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        inside = fits(shrunk(rows, middle), *input_range, acc_bits)
        high = np.where(inside, middle, high)
        low = np.where(inside, low, middle)
    q[over] = shrunk(rows, high)
    # Just below the least θ, some weights that lie together at a half were still one larger: as
    # many of them as fit stay so, in order.
    ties = shrunk(rows, low) != q[over]
    for row, channel in enumerate(over):
        for k in np.flatnonzero(ties[row]):
            step = int(np.sign(rows[row, k]))
            q[channel, k] += step
            if not fits(q[channel : channel + 1], *input_range, acc_bits)[0]:
                q[channel, k] -= step
                break
    return q
