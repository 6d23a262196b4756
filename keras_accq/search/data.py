"""Calibration data as arrays: what a search looks at again and again, and sends to workers."""

import hashlib
from typing import Any

import keras
import numpy as np

from keras_accq.calibration import batches
from keras_accq.graph.nodes import Graph


def collect(graph: Graph, data: Any) -> Any:
    """All calibration data as one batch in the structure of the model's inputs.

    Args:
        graph: The float model.
        data: As for `accq.quantize`; a generator is read once.

    Raises:
        TypeError, ValueError: No data; data of another form or shape; NaN, infinite or constant
            values, which say nothing about the model's tensors.
    """
    if data is None:
        raise ValueError("calibration_data: expected data, received None")
    parts = [keras.tree.flatten(batch) for batch in batches(graph, data)]
    if not parts:
        raise ValueError(
            "calibration_data: expected at least one batch, received none; was it a generator that "
            "had been read before?"
        )
    arrays = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    for tensor, array in zip(keras.tree.flatten(graph.inputs_struct), arrays, strict=True):
        if not np.isfinite(array).all():
            raise ValueError(f"calibration_data: input {tensor.name!r} holds NaN or infinity")
        if (array == array.flat[0]).all():
            raise ValueError(
                f"calibration_data: all values of input {tensor.name!r} are {array.flat[0]}; "
                "expected typical examples"
            )
    return keras.tree.pack_sequence_as(graph.inputs_struct, arrays)


def sha256(arrays: Any) -> str:
    """A hash of the dtypes, shapes and bytes of a structure of arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for array in keras.tree.flatten(arrays):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
