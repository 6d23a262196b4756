"""Sums over the cells of a partition, in `keras.ops`: one accumulator's share of each channel."""

from typing import Any

from keras import ops

from keras_accq.quantizers.operands import Operands


def cell_length(k: int, operands: Operands) -> int:
    """The weights of a whole cell, of K in all."""
    return k if operands.tile is None else min(operands.tile, k)


def cell_sums(values: Any, operands: Operands) -> Any:
    """[K, C] summed within each cell: [cells, C]."""
    k, channels = values.shape
    length = cell_length(k, operands)
    if length == k:
        return ops.sum(values, axis=0, keepdims=True)
    padded = ops.pad(values, ((0, -k % length), (0, 0)))
    return ops.sum(ops.reshape(padded, (-1, length, channels)), axis=1)


def per_weight(values: Any, k: int, operands: Operands) -> Any:
    """[cells, C] spread over the weights: [K, C], or [1, C] for one cell."""
    length = cell_length(k, operands)
    return ops.repeat(values, length, axis=0)[:k] if length < k else values
