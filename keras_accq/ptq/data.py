"""Calibration data that post-training reads several times."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_accq.calibration import batches
from keras_accq.graph.nodes import Graph


class RepeatableData:
    """Batches of calibration data, checked while they are read.

    Layers are quantized one after the other, each from the outputs of those before it, so the data
    are gone through more than once.

    Args:
        graph: The float model.
        data: As for `calibration.measure`, but nothing that can be read only once.

    Raises:
        ValueError: No data.
        TypeError: A generator or another iterator.
    """

    def __init__(self, graph: Graph, data: Any) -> None:
        if data is None:
            raise ValueError(
                "calibration_data: post-training methods need some inputs of the model, received "
                "None"
            )
        if isinstance(data, Iterator):
            raise TypeError(
                "calibration_data: post-training goes through the data several times, received "
                f"{type(data).__name__}, which can be read once; pass an array, list(...) of it, "
                "or something that starts anew for each loop, such as a tf.data.Dataset"
            )
        self._graph = graph
        self._data = data
        self._examples: int | None = None

    def __iter__(self) -> Iterator[Any]:
        """Batches in the structure of the model's inputs.

        Raises:
            TypeError, ValueError: As `calibration.batches`; no examples, or fewer or more of them
                than the first time; or a model input that has the same value everywhere.
        """
        examples = 0
        ranges: list[tuple[float, float]] = []
        for batch in batches(self._graph, self._data):
            arrays = [np.asarray(array) for array in keras.tree.flatten(batch)]
            examples += len(arrays[0])
            if self._examples is None:
                ends = [(float(array.min()), float(array.max())) for array in arrays]
                ranges = [
                    (min(low, a), max(high, b))
                    for (low, high), (a, b) in zip(ranges or ends, ends, strict=True)
                ]
            yield batch
        if self._examples is None:
            self._check(examples, ranges)
        elif examples != self._examples:
            raise ValueError(
                f"calibration_data: gave {self._examples} examples when it was read first and "
                f"{examples} when read again; expected data that start anew for each loop"
            )

    def _check(self, examples: int, ranges: list[tuple[float, float]]) -> None:
        if not examples:
            raise ValueError("calibration_data: expected at least one batch, received none")
        for node, (low, high) in zip(self._graph.inputs, ranges, strict=True):
            if low == high:
                raise ValueError(
                    f"calibration_data: input {node.name!r} is {low} everywhere, which tells "
                    "nothing about the model's tensors; expected real inputs"
                )
        self._examples = examples
