"""Dot products stepped through accumulators of a given width.

Operands are grouped: convolution groups, or the channels of a depthwise convolution, each see
their own inputs. `x` is [groups, positions, K], `q` is [groups, channels per group, K].
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import ALL, IntArray, Partition, check_acc_bits
from keras_accq.reference import Int8Array

Arithmetic = Literal["exact", "wrap", "saturate"]

# Positions are taken in chunks of about this many running sums, to stay in a core's cache.
_CHUNK = 1 << 16


def check_arithmetic(arithmetic: str, argument: str = "arithmetic") -> None:
    """Raises ValueError when `arithmetic` is not "exact", "wrap" or "saturate"."""
    if arithmetic not in get_args(Arithmetic):
        raise ValueError(
            f"{argument}: expected one of {', '.join(get_args(Arithmetic))}, "
            f"received {arithmetic!r}"
        )


def accumulate(
    x: Int8Array,
    q: Int8Array,
    acc_bits: int,
    partition: Partition = ALL,
    arithmetic: Arithmetic = "exact",
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Sums the products of every position and channel in file order of K, one by one.

    Each cell of the partition has its own two's complement accumulator of `acc_bits`, which starts
    at 0; the cells' results are added without a limit.

    Args:
        x: Stored inputs, int8 [groups, positions, K].
        q: Weights, int8 [groups, channels, K].
        acc_bits: P.
        partition: Which products share an accumulator.
        arithmetic: What an addition does that leaves [-2^(P-1), 2^(P-1) - 1]: "exact", nothing
            (the true sum goes on); "wrap", it is taken modulo 2^P; "saturate", it stops at the
            end of the range.

    Returns:
        The sums, int64 [groups, positions, channels], and whether an addition left the range on
        the way, bool of the same shape. The latter is the same for all three: they differ only
        after the first overflow.

    Raises:
        TypeError: `acc_bits` is not an integer, or a bool.
        ValueError: `acc_bits` outside 2..32, or an unknown arithmetic.
    """
    check_arithmetic(arithmetic)
    half = 1 << (check_acc_bits(acc_bits) - 1)
    groups, positions, k = x.shape
    channels = q.shape[1]
    sums = np.zeros((groups, positions, channels), np.int64)
    overflowed = np.zeros(sums.shape, bool)
    cells = partition.cells(k)
    order = np.argsort(cells, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(cells[order])) + 1) if k else []
    # int32 holds every running sum unless K or P is extreme; it is twice as fast.
    dtype: type[np.signedinteger] = np.int32 if k << 14 < 1 << 31 and acc_bits <= 30 else np.int64
    step = max(1, _CHUNK // max(groups * channels, 1))
    weights = q.astype(dtype)
    for start in range(0, positions, step):
        part = slice(start, start + step)
        inputs = x[:, part].astype(dtype)
        for run in runs:
            total, high, low = _one_cell(
                inputs, weights, run, half if arithmetic == "saturate" else None
            )
            overflowed[:, part] |= (high >= half) | (low < -half)
            if arithmetic == "wrap":
                total = (total.astype(np.int64) + half) % (2 * half) - half
            sums[:, part] += total
    return sums, overflowed


def _one_cell(
    x: NDArray[np.signedinteger],
    q: NDArray[np.signedinteger],
    run: IntArray,
    saturate_at: int | None,
) -> tuple[NDArray[np.signedinteger], NDArray[np.signedinteger], NDArray[np.signedinteger]]:
    """The final, largest and smallest running sum over the positions `run` of K.

    A wrapping sum is not wrapped here: modulo 2^P it makes no difference when that is done, and
    before the first overflow the true sum is the accumulator.
    """
    total = np.zeros((x.shape[0], x.shape[1], q.shape[1]), x.dtype)
    high, low, product = np.zeros_like(total), np.zeros_like(total), np.zeros_like(total)
    for k in run:
        np.multiply(x[:, :, None, k], q[:, None, :, k], out=product)
        total += product
        np.maximum(high, total, out=high)
        np.minimum(low, total, out=low)
        if saturate_at is not None:
            np.clip(total, -saturate_at, saturate_at - 1, out=total)
    return total, high, low
