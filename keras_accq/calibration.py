"""Running calibration data through the float model, to learn what its tensors hold."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.groups import Group
from keras_accq.graph.nodes import Graph, Node
from keras_accq.graph.supported import has_softmax

_BATCH = 64
# Values kept of each group, spread over all batches.
_KEPT = 1 << 16
_KEPT_OF_BATCH = 1 << 13


@dataclass
class Measurement:
    """What a scale group's tensors held.

    Attributes:
        low: The smallest value.
        high: The largest value.
        samples: float32, flat: a random choice of the values.
    """

    low: float = np.inf
    high: float = -np.inf
    samples: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


def measure(graph: Graph, groups: list[Group], data: Any) -> list[Measurement]:
    """What each group's tensors hold when the float model runs on data.

    Args:
        graph: The model.
        groups: Its scale groups.
        data: One array (batch first), a dict of arrays by input name, a list of arrays (one for
            each of several inputs), or an iterable of batches: such arrays or dicts, or tuples
            whose first item is one, as `tf.data` datasets for training give.

    Raises:
        ValueError: No data, data of another shape than the model's inputs, or a tensor that turns
            out NaN or infinite.
    """
    # Built on the model's own symbolic tensors: none of its layers is called anew, so it stays as
    # it is.
    sources = [node for group in groups for node in group.sources]
    probe = keras.Model(graph.inputs_struct, [_quantized_tensor(graph, node) for node in sources])
    measurements = [Measurement() for _ in groups]
    random = np.random.default_rng(0)
    count = 0
    for batch in batches(graph, data):
        count += 1
        values = iter(keras.tree.flatten(probe(batch, training=False)))
        for group, measurement in zip(groups, measurements, strict=True):
            for _ in group.sources:
                array = keras.ops.convert_to_numpy(next(values)).astype(np.float32)
                _add(group, measurement, array, random)
    if not count:
        raise ValueError("calibration_data: expected at least one batch, received none")
    return measurements


def _quantized_tensor(graph: Graph, node: Node) -> Any:
    """The tensor of the float model that is quantized where `node` is a group's source."""
    # The quantizer stands before a softmax.
    return before_activation(graph, node) if has_softmax(node.layer) else graph.tensors[node.output]


def before_activation(graph: Graph, node: Node) -> Any:
    """The symbolic tensor of what a compute node's activation is applied to."""
    if node.layer.activation is keras.activations.linear:
        return graph.tensors[node.output]
    # The model has no such tensor; a layer without the activation makes one.
    name = f"{node.name}_before_activation"
    config = {**node.layer.get_config(), "activation": "linear", "name": name}
    config.pop("quantization_config", None)
    linear = type(node.layer).from_config(config)
    output = node.call(linear, graph.tensors)
    linear.set_weights(node.layer.get_weights())
    return output


def _add(
    group: Group, measurement: Measurement, array: NDArray[np.float32], random: np.random.Generator
) -> None:
    values = array.reshape(-1)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError(
            f"calibration_data: tensor {group.name!r} of the float model is NaN or infinite"
        )
    measurement.low = min(measurement.low, low)
    measurement.high = max(measurement.high, high)
    if values.size > _KEPT_OF_BATCH:
        values = random.choice(values, _KEPT_OF_BATCH, replace=False)
    samples = np.concatenate([measurement.samples, values])
    if samples.size > _KEPT:
        samples = random.choice(samples, _KEPT, replace=False)
    measurement.samples = samples


def batches(graph: Graph, data: Any) -> Iterator[Any]:
    """Batches of calibration data (see `measure`) in the structure of the model's inputs.

    Raises:
        TypeError, ValueError: Data of another form, type or shape than the model's inputs.
    """
    # Keras's own form for several inputs; for one input a list of arrays is a list of batches.
    one_each = (
        len(graph.inputs) > 1
        and isinstance(data, (list, tuple))
        and all(hasattr(array, "shape") for array in data)
    )
    if hasattr(data, "shape") or isinstance(data, Mapping) or one_each:
        arrays = _arranged(graph, data)
        flat = keras.tree.flatten(arrays)
        sizes = {len(array) for array in flat}
        if len(sizes) != 1 or 0 in sizes:
            raise ValueError(
                "calibration_data: expected arrays of one number of examples, at least 1; "
                f"received {sorted(sizes)}"
            )
        for start in range(0, sizes.pop(), _BATCH):
            yield keras.tree.map_structure(lambda a, at=start: a[at : at + _BATCH], arrays)
        return
    if not isinstance(data, Iterable):
        raise TypeError(
            "calibration_data: expected an array, a dict of arrays or an iterable of batches, "
            f"received {type(data).__name__}"
        )
    for batch in data:
        arrays = _arranged(graph, batch[0] if isinstance(batch, tuple) else batch)
        if all(len(array) for array in keras.tree.flatten(arrays)):
            yield arrays


def _arranged(graph: Graph, batch: Any) -> Any:
    """A batch's arrays, checked against the model's inputs and in their structure."""
    tensors = keras.tree.flatten(graph.inputs_struct)
    if isinstance(batch, Mapping):
        names = [tensor.name for tensor in tensors]
        if isinstance(graph.inputs_struct, Mapping) and set(batch) == set(graph.inputs_struct):
            arrays = [batch[key] for key in sorted(graph.inputs_struct)]
            tensors = [graph.inputs_struct[key] for key in sorted(graph.inputs_struct)]
        elif set(batch) == set(names):
            arrays = [batch[name] for name in names]
        else:
            raise ValueError(
                f"calibration_data: expected inputs {sorted(names)}, received {sorted(batch)}"
            )
    elif isinstance(batch, (list, tuple)):
        arrays = list(batch)
    else:
        arrays = [batch]
    if len(arrays) != len(tensors):
        raise ValueError(
            f"calibration_data: expected {len(tensors)} inputs, received {len(arrays)}"
        )
    checked = []
    for tensor, array in zip(tensors, arrays, strict=True):
        values = np.asarray(array)
        expected = tuple(tensor.shape)
        fits = len(values.shape) == len(expected) and all(
            e is None or e == v for e, v in zip(expected[1:], values.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"calibration_data: input {tensor.name!r} expects shape {expected}, received "
                f"{values.shape}"
            )
        if values.dtype.kind not in "fiub":
            raise ValueError(
                f"calibration_data: input {tensor.name!r} expects numbers, received dtype "
                f"{values.dtype}"
            )
        checked.append(values)
    if isinstance(graph.inputs_struct, Mapping):
        by_id = {id(tensor): array for tensor, array in zip(tensors, checked, strict=True)}
        return {key: by_id[id(tensor)] for key, tensor in graph.inputs_struct.items()}
    return keras.tree.pack_sequence_as(graph.inputs_struct, checked)
