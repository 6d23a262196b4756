"""How far a quantized model's outputs are from the float model's."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.nodes import Graph
from keras_accq.graph.supported import Kind, has_softmax, kind

FloatArray = NDArray[np.float64]

# Probabilities below count as this.
_SMALLEST = 1e-12


class Divergence:
    """Distances from a float model, over calibration data, summed over the model's outputs.

    Of probabilities the mean Kullback-Leibler divergence from the float model's; of any other
    output the squared error by the variance of the float model's.

    Args:
        graph: The float model.
        data: Batches in the structure of its inputs, the same each time.

    Raises:
        ValueError: No examples, or outputs of the float model that are NaN or infinite.
    """

    def __init__(self, graph: Graph, data: Iterable[Any]) -> None:
        self._data = data
        makers = graph.producers()
        tensors = keras.tree.flatten(graph.outputs_struct)
        layers = [makers[id(tensor)].layer for tensor in tensors]
        self._softmax = [kind(x) is Kind.SOFTMAX or has_softmax(x) for x in layers]
        self._wanted = _outputs(graph.model, data)
        for tensor, wanted in zip(tensors, self._wanted, strict=True):
            if not np.isfinite(wanted).all():
                raise ValueError(
                    f"calibration_data: output {tensor.name!r} of the float model is NaN or "
                    "infinite"
                )

    def of(self, model: keras.Model) -> float:
        """The distance of a model with the same inputs and outputs; infinite for NaN."""
        total = 0.0
        for found, wanted, softmax in zip(
            _outputs(model, self._data), self._wanted, self._softmax, strict=True
        ):
            total += _kullback_leibler(wanted, found) if softmax else _relative(wanted, found)
        return total if np.isfinite(total) else np.inf


def _outputs(model: keras.Model, data: Iterable[Any]) -> list[FloatArray]:
    """Each output for all examples, as rows of its last axis."""
    batches = [
        [
            keras.ops.convert_to_numpy(value).astype(np.float64)
            for value in keras.tree.flatten(model(batch, training=False))
        ]
        for batch in data
    ]
    if not batches:
        raise ValueError("calibration_data: expected at least one batch, received none")
    return [
        np.concatenate(parts).reshape(-1, parts[0].shape[-1])
        for parts in zip(*batches, strict=True)
    ]


def _kullback_leibler(wanted: FloatArray, found: FloatArray) -> float:
    wanted, found = np.maximum(wanted, _SMALLEST), np.maximum(found, _SMALLEST)
    return float((wanted * np.log(wanted / found)).sum(axis=1).mean())


def _relative(wanted: FloatArray, found: FloatArray) -> float:
    error = np.square(found - wanted).sum()
    variance = np.square(wanted - wanted.mean(axis=0)).sum()
    return float(error / variance) if variance > 0 else float(error)
