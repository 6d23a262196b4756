"""Sums and maxima over cells, each an accumulator's share of a channel, in `keras.ops`."""

import math
from typing import Any

from keras import ops

from keras_accq.quantizers.operands import Operands


def cell_length(k: int, operands: Operands) -> int:
    """The weights of a whole cell, of K in all."""
    return k if operands.tile is None else min(operands.tile, k)


def cell_sums(values: Any, operands: Operands) -> Any:
    """[K, C] summed within each cell: [cells, C].

    In two stages of about √length terms each (`additions`), which loses less to rounding than one.
    """
    k, channels = values.shape
    length = cell_length(k, operands)
    inner, outer = _stages(length)
    if k % length:
        values = ops.pad(values, ((0, -k % length), (0, 0)))
    parts = ops.sum(ops.reshape(values, (-1, inner, channels)), axis=1)
    return parts if outer == 1 else ops.sum(ops.reshape(parts, (-1, outer, channels)), axis=1)


def cell_maxima(values: Any, operands: Operands) -> Any:
    """The largest of [K, C], none below 0, within each cell: [cells, C]."""
    k, channels = values.shape
    length = cell_length(k, operands)
    if k % length:
        values = ops.pad(values, ((0, -k % length), (0, 0)))
    return ops.max(ops.reshape(values, (-1, length, channels)), axis=1)


def additions(k: int, operands: Operands) -> int:
    """How many additions, at most, any weight of a cell goes through in `cell_sums`."""
    return sum(_stages(cell_length(k, operands))) - 2


def _stages(length: int) -> tuple[int, int]:
    """Two factors of a cell's length, as near to each other as can be; the larger first."""
    outer = next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0)
    return length // outer, outer


def per_weight(values: Any, k: int, operands: Operands) -> Any:
    """[cells, C] spread over the weights: [K, C], or [1, C] for one cell."""
    length = cell_length(k, operands)
    return ops.repeat(values, length, axis=0)[:k] if length < k else values
