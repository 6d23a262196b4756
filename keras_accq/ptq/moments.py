"""Exact means and variances of a model's channels over calibration data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.nodes import Graph

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What one tensor's channels were, over all examples and positions.

    Attributes:
        mean: float64 [channels].
        variance: float64 [channels], of the population.
    """

    mean: FloatArray
    variance: FloatArray


def channel_moments(
    graph: Graph, tensors: Sequence[tuple[str, Any]], data: Iterable[Any]
) -> list[Moments]:
    """Moments of some tensors, channels last, when the model runs on the data.

    Args:
        graph: The model.
        tensors: A name, for messages, and a symbolic tensor each; at least one.
        data: Batches in the structure of the model's inputs.

    Raises:
        ValueError: No examples, or a tensor that turns out NaN or infinite, naming it.
    """
    probe = keras.Model(graph.inputs_struct, [tensor for _, tensor in tensors])
    totals = [_Total(name) for name, _ in tensors]
    for batch in data:
        for total, value in zip(
            totals, keras.tree.flatten(probe(batch, training=False)), strict=True
        ):
            total.add(keras.ops.convert_to_numpy(value))
    if not totals[0].count:
        raise ValueError("calibration_data: expected at least one batch, received none")
    return [Moments(total.mean, total.squares / total.count) for total in totals]


class _Total:
    """Mean and sum of squared deviations, merged batch by batch (Chan et al. 1979)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.mean: FloatArray = np.zeros(1)
        self.squares: FloatArray = np.zeros(1)

    def add(self, value: NDArray[Any]) -> None:
        rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
        if not np.isfinite(rows).all():
            raise ValueError(
                f"calibration_data: the output of {self.name!r} turns out NaN or infinite"
            )
        mean = rows.mean(axis=0)
        count = self.count + len(rows)
        shift = mean - self.mean
        self.squares = (
            self.squares
            + np.square(rows - mean).sum(axis=0)
            + np.square(shift) * (self.count * len(rows) / count)
        )
        self.mean = self.mean + shift * (len(rows) / count)
        self.count = count
