"""AXE over a whole model: layer by layer, from calibration data.

Layers are solved in topological order. The inputs of a layer are taken from the quantized model,
whose layers before it are done, and from the float model; both run on the calibration data, batch
by batch, and only second moments are kept (`gram`). Layers that read the same tensor share a pass.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.nodes import Graph, Node, read
from keras_accq.layers import QuantizedWeights
from keras_accq.layers.kernels import from_matrix, to_matrix
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.gram import Gram
from keras_accq.ptq.layer import solve
from keras_accq.ptq.patches import Window, patches
from keras_accq.quantizers.axe import AXE

FloatArray = NDArray[np.float64]

# Patches are made of so many numbers at a time, at most (of one example, at least).
_NUMBERS = 1 << 22


def post_train(graph: Graph, qmodel: keras.Model, data: RepeatableData) -> None:
    """Gives all layers of a quantized model whose method is AXE their integers.

    Args:
        graph: The float model.
        qmodel: The quantized model built of it, with all activation ranges set; changed in place.
        data: Calibration data.
    """
    quantized = read(qmodel)
    float_nodes = {node.name: node for node in graph.nodes}
    readers = _readers(quantized)
    for nodes in _passes(quantized):
        _Pass(graph, quantized, [float_nodes[node.name] for node in nodes], nodes, readers).run(
            data
        )


def _passes(quantized: Graph) -> list[list[Node]]:
    """Layers to solve, in topological order; those that read one tensor together."""
    found: dict[int, list[Node]] = {}
    for node in quantized.nodes:
        if isinstance(node.layer, QuantizedWeights) and isinstance(node.layer.method, AXE):
            found.setdefault(node.inputs[0], []).append(node)
    return list(found.values())


def _readers(quantized: Graph) -> dict[str, list[Node]]:
    consumers = quantized.consumers()
    return {node.name: consumers[node.output] for node in quantized.nodes}


class _Pass:
    """The layers that read one tensor: gathers their moments, solves them, writes the integers."""

    def __init__(
        self,
        graph: Graph,
        quantized: Graph,
        float_nodes: list[Node],
        nodes: list[Node],
        readers: dict[str, list[Node]],
    ) -> None:
        # Built on the models' own symbolic tensors: none of their layers is called anew.
        self._float_probe = keras.Model(
            graph.inputs_struct, graph.tensors[float_nodes[0].inputs[0]]
        )
        self._probe = keras.Model(quantized.inputs_struct, quantized.tensors[nodes[0].inputs[0]])
        self._layers = [
            _Layer(float_node.layer, node.layer, readers[node.name])
            for float_node, node in zip(float_nodes, nodes, strict=True)
        ]

    def run(self, data: RepeatableData) -> None:
        for batch in data:
            inputs = _numpy(self._probe(batch, training=False))
            floats = _numpy(self._float_probe(batch, training=False))
            for layer in self._layers:
                layer.gather(inputs, floats)
        for layer in self._layers:
            layer.settle()


def _numpy(tensor: Any) -> NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


class _Layer:
    """One layer's moments on the way to its integers."""

    def __init__(self, float_layer: Any, layer: Any, readers: list[Node]) -> None:
        self._layer = layer
        self._method: AXE = layer.method
        self._window = window_of(layer)
        self._weights = _grouped(to_matrix(layer, _numpy(float_layer.kernel)), self._groups)
        self._offset = _offset_taker(layer, readers) if self._method.bias_correction else None
        self._gram = Gram(self._weights, cross=self._method.algorithm == "gpfq")

    @property
    def _groups(self) -> int:
        return 1 if self._window is None else self._window.groups

    def gather(self, inputs: NDArray[Any], floats: NDArray[Any]) -> None:
        """Adds a batch: the layer's input tensor in the quantized and in the float model."""
        for part in self._parts(inputs):
            own = patches(inputs[part], self._window)
            other = patches(floats[part], self._window) if self._method.compensate else own
            self._gram.add(own, other)

    def _parts(self, inputs: NDArray[Any]) -> Iterator[slice]:
        numbers = int(np.prod(inputs.shape[1:]))
        if self._window is not None:
            numbers *= int(np.prod(self._window.kernel))
        step = max(1, _NUMBERS // numbers)
        for start in range(0, len(inputs), step):
            yield slice(start, start + step)

    def settle(self) -> None:
        """Solves the layer and writes its integers, scales and, where wanted, its bias."""
        moments = self._gram.moments()
        del self._gram
        about = moments if self._offset is None else moments.centred()
        scales = _numpy(self._layer.quantized_kernel()[1]).astype(np.float64)
        solution = solve(
            self._weights,
            scales.reshape(self._groups, -1),
            about,
            self._layer.operands,
            self._method,
        )
        q = _matrix(solution.q).astype(np.int8)
        self._layer.set_integer_weights(from_matrix(self._layer, q), solution.scales.reshape(-1))
        if self._offset is not None:
            # Of the weights as float32 has them.
            integers, scale = self._layer.quantized_kernel()
            weights = _grouped(to_matrix(self._layer, integers) * scale, self._groups)
            self._add_offset(moments.mean_error(weights).reshape(-1))

    def _add_offset(self, change: FloatArray) -> None:
        assert self._offset is not None
        variable, sign = self._offset
        variable.assign(_numpy(variable) + (sign * change).astype(np.float32))


def window_of(layer: Any) -> Window | None:
    """The window of a compute layer; None for a Dense layer.

    Raises:
        UnsupportedModelError: A layer whose inputs `patches` does not know how to cut.
    """
    if isinstance(layer, keras.layers.Dense):
        return None
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        raise UnsupportedModelError(
            f"{layer.name}: method 'axe' does not take {type(layer).__name__}; give the layer "
            "another one with overrides"
        )
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return Window(
        tuple(layer.kernel_size),
        tuple(layer.strides),
        tuple(layer.dilation_rate),
        layer.padding,
        int(layer.kernel.shape[-2]) if depthwise else layer.groups,
    )


def _offset_taker(layer: Any, readers: list[Node]) -> tuple[Any, int] | None:
    """The variable that takes up a constant of the layer's output, and its sign; or None."""
    if layer.bias is not None:
        return layer.bias, 1
    norm = readers[0].layer if len(readers) == 1 else None
    if isinstance(norm, keras.layers.BatchNormalization):
        return norm.moving_mean, -1
    return None


def _grouped(matrix: NDArray[Any], groups: int) -> FloatArray:
    """[K, groups · channels] as [groups, K, channels]."""
    k = matrix.shape[0]
    return matrix.astype(np.float64).reshape(k, groups, -1).transpose(1, 0, 2)


def _matrix(grouped: FloatArray) -> FloatArray:
    """[groups, K, channels] as [K, groups · channels]."""
    return grouped.transpose(1, 0, 2).reshape(grouped.shape[1], -1)
