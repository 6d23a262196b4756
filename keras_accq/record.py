"""Running a `.tflite` file of built-in operators in stock LiteRT and keeping what tensors held."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Inputs = ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Recording:
    """What a run left behind; all runs of the model's batch are joined along the first axis.

    Attributes:
        outputs: The model's outputs, in its order.
        tensors: By tensor index of the main subgraph.
    """

    outputs: tuple[Array, ...]
    tensors: dict[int, Array]


def record(model: bytes, inputs: Inputs, tensors: Iterable[int]) -> Recording:
    """Runs samples through a model, as many at a time as its batch size.

    Args:
        model: The bytes of a `.tflite` file that stock LiteRT can run.
        inputs: Samples on the first axis: one array for a model of one input, else arrays in the
            order of the model's inputs, or by name. Types are the model's own.
        tensors: Indices of tensors of the main subgraph to keep.

    Raises:
        ValueError: Inputs that do not match the model in number, name, type or shape, or samples
            that are no multiple of the batch.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        # Meant for debugging only, it says; that is what this is.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
        interpreter = Interpreter(
            model_content=model, experimental_preserve_all_tensors=True, num_threads=1
        )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    arrays = _matched(details, inputs)
    batches = _batches(arrays, details)
    output_indices = [detail["index"] for detail in interpreter.get_output_details()]
    kept: dict[int, list[Array]] = {index: [] for index in {*tensors, *output_indices}}
    for batch in range(batches):
        for array, detail in zip(arrays, details, strict=True):
            size = detail["shape"][0]
            interpreter.set_tensor(detail["index"], array[batch * size : (batch + 1) * size])
        interpreter.invoke()
        for index, values in kept.items():
            values.append(interpreter.get_tensor(index))
    joined = {
        index: np.concatenate([np.atleast_1d(value) for value in values])
        for index, values in kept.items()
    }
    return Recording(
        outputs=tuple(joined[index] for index in output_indices),
        tensors={index: joined[index] for index in tensors},
    )


def _matched(details: Sequence[Mapping[str, Any]], inputs: Inputs) -> list[Array]:
    """The inputs as arrays in the model's order."""
    names = [detail["name"] for detail in details]
    if isinstance(inputs, Mapping):
        if set(inputs) != set(names):
            raise ValueError(f"inputs: expected the names {names}, received {list(inputs)}")
        return [np.asarray(inputs[name]) for name in names]
    if len(details) == 1 and not (isinstance(inputs, list | tuple) and len(inputs) == 1):
        return [np.asarray(inputs)]
    if not isinstance(inputs, list | tuple) or len(inputs) != len(details):
        raise ValueError(f"inputs: expected {len(details)} arrays, for {names}")
    return [np.asarray(array) for array in inputs]


def _batches(arrays: Sequence[Array], details: Sequence[Mapping[str, Any]]) -> int:
    """How many runs the samples make, all inputs checked against the model."""
    counts = set()
    for array, detail in zip(arrays, details, strict=True):
        size, *shape = detail["shape"].tolist()
        expected = f"{np.dtype(detail['dtype'])} [multiple of {size}, {', '.join(map(str, shape))}]"
        if array.dtype != detail["dtype"] or list(array.shape[1:]) != shape or not array.size:
            raise ValueError(
                f"input {detail['name']!r}: expected {expected}, "
                f"received {array.dtype} {list(array.shape)}"
            )
        if len(array) % size:
            raise ValueError(
                f"input {detail['name']!r}: expected {expected}, received {len(array)} samples"
            )
        counts.add(len(array) // size)
    if len(counts) != 1:
        raise ValueError(f"inputs: expected one number of batches for all, received {counts}")
    return counts.pop()
