"""Multiplications with constants and additions of them, per channel, in a float model.

Rescaling, Normalization, and operations such as `x / 127.5 - 1`. A row of them right behind an
input, alike for all channels, is one Rescaling: other names for the same integers. Any other row is
one depthwise convolution.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.copied import Copies, Tensors, rebuilt
from keras_accq.graph.depthwise import depthwise
from keras_accq.graph.nodes import Graph, Node, read

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """x·factor + offset.

    Attributes:
        factor: float64 [channels], or [1] for all alike.
        offset: Likewise.
    """

    factor: FloatArray
    offset: FloatArray

    def then(self, other: "Affine") -> "Affine":
        return Affine(self.factor * other.factor, self.offset * other.factor + other.offset)

    @property
    def is_uniform(self) -> bool:
        return bool(np.ptp(self.factor) == 0 and np.ptp(self.offset) == 0)

    def is_near(self, factor: float, offset: float) -> bool:
        """Whether it is so for all channels, but for roundings of float32."""
        return bool(
            np.allclose(self.factor, factor, rtol=1e-6, atol=0)
            and np.allclose(self.offset, offset, rtol=1e-6, atol=1e-9)
        )


def affine_of(node: Node) -> Affine | None:
    """What a node does, if it is nothing but a factor and an offset per channel."""
    layer = node.layer
    shape = _shape(layer)
    if shape is None:
        return None
    if type(layer) is keras.layers.Rescaling:
        return _per_channel(shape, layer.scale, layer.offset)
    if type(layer) is keras.layers.Normalization:
        if layer.mean is None:
            return None
        mean, variance = (
            keras.ops.convert_to_numpy(value).astype(np.float64)
            for value in (layer.mean, layer.variance)
        )
        deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
        if layer.invert:
            return _per_channel(shape, deviation, mean)
        return _per_channel(shape, 1 / deviation, -mean / deviation)
    return _of_operation(node, shape)


def _shape(layer: Any) -> tuple[Any, ...] | None:
    outputs = layer._inbound_nodes[0].output_tensors
    return tuple(outputs[0].shape) if len(outputs) == 1 else None


def operation_of(layer: Any) -> str | None:
    """The name of an arithmetic operation of `keras.ops` ("Add" for x + y), else None."""
    if isinstance(layer, keras.layers.Layer):
        return None
    name = type(layer).__name__
    from_keras = type(layer).__module__.startswith("keras.")
    known = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
    return name if from_keras and name in known else None


def _of_operation(node: Node, shape: tuple[Any, ...]) -> Affine | None:
    name = operation_of(node.layer)
    if name is None or len(node.inputs) != 1:
        return None
    marker = object()
    a, b = node.call(lambda x1, x2: (x1, x2), {node.inputs[0]: marker})
    if a is marker and b is marker:
        return None
    constant = b if a is marker else a
    try:
        c = np.asarray(keras.ops.convert_to_numpy(constant), np.float64)
    except (TypeError, ValueError):
        return None
    if a is not marker:
        return {
            "Add": lambda: _per_channel(shape, 1, c),
            "Multiply": lambda: _per_channel(shape, c, 0),
            "Subtract": lambda: _per_channel(shape, -1, c),
        }.get(name, lambda: None)()
    return {
        "Add": lambda: _per_channel(shape, 1, c),
        "Subtract": lambda: _per_channel(shape, 1, -c),
        "Multiply": lambda: _per_channel(shape, c, 0),
        "Divide": lambda: _per_channel(shape, 1 / c, 0),
        "TrueDivide": lambda: _per_channel(shape, 1 / c, 0),
    }[name]()


def _per_channel(shape: tuple[Any, ...], factor: Any, offset: Any) -> Affine | None:
    values = []
    for value in (factor, offset):
        array = np.asarray(value, np.float64)
        if array.size != 1 and (array.size != shape[-1] or array.shape[-1] != array.size):
            return None
        if len(array.shape) > len(shape) or not np.isfinite(array).all():
            return None
        values.append(array.reshape(-1))
    return Affine(*values)


def write_affine(graph: Graph) -> Graph:
    """The model with each row of affine nodes as one Rescaling or depthwise convolution."""
    rows = _rows(graph)
    if not rows:
        return graph
    last = {row[-1].output: row for row in rows}
    inner = {node.output for row in rows for node in row[:-1]}
    consumers, outputs = graph.consumers(), graph.outputs()
    inputs = {node.output for node in graph.inputs}
    copies = Copies()

    def visit(node: Node, tensors: Tensors) -> Any:
        if node.output in inner:
            return None  # Read by the next of its row only.
        if node.output not in last:
            return copies.call(node, tensors)
        row = last[node.output]
        source = row[0].inputs[0]
        whole = _whole(row)
        # What a Rescaling is for: the input's own integers, under other names.
        alone = len(consumers[source]) == 1 and source not in outputs
        if source in inputs and alone and whole.is_uniform and whole.factor[0] > 0:
            scale, offset = float(whole.factor[0]), float(whole.offset[0])
            return keras.layers.Rescaling(scale, offset, name=node.label)(tensors[source])
        x = tensors[source]
        factors, offsets = (
            np.broadcast_to(values, x.shape[-1:]) for values in (whole.factor, whole.offset)
        )
        return depthwise(x, node.label, factors, offsets, _policy(node.layer))

    return read(rebuilt(graph, visit))


def _policy(layer: Any) -> Any:
    return layer.dtype_policy if isinstance(layer, keras.layers.Layer) else None


def _whole(row: list[Node]) -> Affine:
    parts = [affine_of(node) for node in row]
    whole = parts[0]
    assert whole is not None
    for part in parts[1:]:
        assert part is not None
        whole = whole.then(part)
    return whole


def _rows(graph: Graph) -> list[list[Node]]:
    """Affine nodes one behind the other, but for a Rescaling that can stay as it is."""
    consumers, outputs = graph.consumers(), graph.outputs()
    inputs = {node.output for node in graph.inputs}
    affine = {node.output: node for node in graph.nodes if affine_of(node) is not None}

    def goes_on(key: int) -> bool:
        readers = consumers[key]
        return len(readers) == 1 and readers[0].output in affine and key not in outputs

    rows = []
    for node in affine.values():
        if node.inputs[0] in affine and goes_on(node.inputs[0]):
            continue
        row = [node]
        while goes_on(row[-1].output):
            row.append(affine[consumers[row[-1].output][0].output])
        start = row[0].inputs[0]
        stays = (
            len(row) == 1
            and type(node.layer) is keras.layers.Rescaling
            and start in inputs
            and len(consumers[start]) == 1
            and start not in outputs
            and isinstance(node.layer.scale, (int, float))
            and isinstance(node.layer.offset, (int, float))
            and node.layer.scale > 0
        )
        if not stays:
            rows.append(row)
    return rows
