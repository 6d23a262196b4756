"""Coordinate descent on integer weights: what a greedy pass left undone.

A greedy pass settles early weights before it knows what becomes of the later ones. Here each
weight in turn is set to the best integer given all others, within the room that its accumulator
then has: the error never grows. (Coordinate descent on H is that of QuantEase, arXiv 2309.01885;
the accumulator's limits in it are this package's own.)
"""

import numpy as np
from numpy.typing import NDArray

from keras_accq.ptq.budget import Ledger
from keras_accq.quantizers.operands import Operands

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BLOCK = 32


def descend(
    q: FloatArray,
    target: FloatArray,
    gram: FloatArray,
    cells: IntArray,
    operands: Operands,
    sweeps: int,
) -> FloatArray:
    """Integers with an error ‖target - ...‖ no larger than before.

    Args:
        q: Integer weights that fit, float64 [groups, K, channels].
        target: X̂(wᵀX)ᵀ divided by the weight scales, likewise.
        gram: H, float64 [groups, K, K].
        cells: [groups, K], the cell of each position.
        operands: The layer's widths.
        sweeps: How often all weights are gone through, at most; it ends when none changes.

    Returns:
        float64 [groups, K, channels].
    """
    groups, k, channels = q.shape
    q = q.copy()
    ledger = Ledger(operands, k, groups, channels)
    for t in range(k):
        ledger.take(cells[:, t], q[:, t].astype(np.int64))
    diagonal = gram[:, np.arange(k), np.arange(k)]
    # Weights of inputs that never varied stay.
    safe = np.where(diagonal > 1e-12 * diagonal.max(axis=1, keepdims=True), diagonal, np.inf)
    for _ in range(sweeps):
        residual = target - gram @ q
        changed = False
        for start in range(0, k, _BLOCK):
            stop = min(start + _BLOCK, k)
            before = q[:, start:stop].copy()
            for t in range(start, stop):
                cell, old = cells[:, t], q[:, t].astype(np.int64)
                ledger.give(cell, old)
                smallest, largest = ledger.limits(cell)
                wanted = q[:, t] + residual[:, t] / safe[:, t, None]
                new = np.rint(np.clip(wanted, smallest, largest))
                ledger.take(cell, new.astype(np.int64))
                moved = (new - q[:, t])[:, None]
                q[:, t] = new
                residual[:, t + 1 : stop] -= gram[:, t + 1 : stop, t, None] * moved
            moves = q[:, start:stop] - before
            if moves.any():
                changed = True
                residual[:, stop:] -= gram[:, stop:, start:stop] @ moves
        if not changed:
            break
    return q
