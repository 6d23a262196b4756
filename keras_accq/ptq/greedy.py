"""One pass over a layer's weights that rounds each in turn and lets the later ones make up for it.

OPTQ and GPFQ differ only in a matrix: with A lower triangular, both choose

    q_t = round((target_t - Σ_{j<t} A_tj q_j) / A_tt),

where the target is what the sum with unrounded weights would be. AXE (arXiv 2409.17092) shrinks
the quotient by the tile's soft threshold and clamps it to what the accumulator leaves. As q enters
the sums as it is, the whole error is handed on: of rounding, threshold and clamp.
"""

import numpy as np
from numpy.typing import NDArray

from keras_accq.ptq.budget import Ledger
from keras_accq.quantizers.operands import Operands

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Weights taken one by one between two matrix products.
_LEAF = 16


def greedy(
    target: FloatArray,
    matrix: FloatArray,
    cells: IntArray,
    operands: Operands,
    thresholds: FloatArray | None,
) -> FloatArray:
    """Integer weights, each the best that its accumulator allows given those before it.

    All channels and groups are worked on at once. Columns of sums are brought up to date by halves,
    so that nearly all the work is products of large matrices.

    Args:
        target: float64 [groups, K, channels], in units of the weight scales and in the order of
            quantization. Overwritten.
        matrix: A, float64 [groups, K, K], with a positive diagonal; what lies above it is not read.
        cells: [groups, K], the cell of each position, from 0.
        operands: The layer's widths.
        thresholds: λ, float64 [cells, groups, channels]; None for none.

    Returns:
        float64 [groups, K, channels], integers that fit the accumulator, in the order of the
        target.
    """
    groups, k, channels = target.shape
    ledger = Ledger(operands, k, groups, channels)
    diagonal = matrix[:, np.arange(k), np.arange(k)]
    q = np.zeros_like(target)
    every = np.arange(groups)

    def one(t: int) -> None:
        cell = cells[:, t]
        wanted = target[:, t] / diagonal[:, t, None]
        if thresholds is not None:
            shrunk = np.abs(wanted)
            shrunk -= thresholds[cell, every]
            np.maximum(shrunk, 0.0, out=shrunk)
            wanted = np.copysign(shrunk, wanted)
        smallest, largest = ledger.limits(cell)
        chosen = np.rint(np.clip(wanted, smallest, largest))
        q[:, t] = chosen
        ledger.take(cell, chosen.astype(np.int64))

    def run(start: int, stop: int) -> None:
        if stop - start <= _LEAF:
            for t in range(start, stop):
                one(t)
                target[:, t + 1 : stop] -= matrix[:, t + 1 : stop, t, None] * q[:, t, None]
            return
        middle = (start + stop) // 2
        run(start, middle)
        target[:, middle:stop] -= matrix[:, middle:stop, start:middle] @ q[:, start:middle]
        run(middle, stop)

    run(0, k)
    return q
