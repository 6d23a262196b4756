"""AXE over a whole model: layer by layer, from calibration data.

Layers are solved in topological order. The inputs of a layer are taken from the quantized model,
whose layers before it are done, and from the float model; both run on the calibration data, batch
by batch, and only second moments are kept (`gram`). Layers that read the same tensor share a pass.
A layer that is called several times is solved for the inputs of all its calls; those that come from
layers not solved yet are taken from the float model alone.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.nodes import Graph, Node, matching, read
from keras_accq.layers import ActivationQuantizer, QuantizedWeights
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.geometry import Geometry
from keras_accq.ptq.gram import Gram
from keras_accq.ptq.layer import solve
from keras_accq.quantizers.axe import AXE

FloatArray = NDArray[np.float64]


def post_train(
    graph: Graph,
    qmodel: keras.Model,
    data: RepeatableData,
    names: Collection[str] | None = None,
) -> None:
    """Gives the layers of a quantized model whose method is AXE their integers.

    Args:
        graph: The float model.
        qmodel: The quantized model built of it, with all activation ranges set; changed in place.
        data: Calibration data.
        names: Of the layers to solve; None for all.

    Raises:
        UnsupportedModelError: A kind of layer that AXE does not take.
        TypeError, ValueError: As `RepeatableData`.
    """
    quantized = read(qmodel)
    passes = _passes(quantized, names)
    unsolved = {id(node.layer) for nodes in passes for node in nodes}
    for nodes in passes:
        _Pass(graph, quantized, nodes, unsolved).run(data)
        unsolved -= {id(node.layer) for node in nodes}


def _passes(quantized: Graph, names: Collection[str] | None) -> list[list[Node]]:
    """First calls of layers to solve, in topological order; those that read one tensor together."""
    found: dict[int, list[Node]] = {}
    for node in quantized.nodes:
        if node.number > 1 or (names is not None and node.name not in names):
            continue
        if isinstance(node.layer, QuantizedWeights) and isinstance(node.layer.method, AXE):
            found.setdefault(node.inputs[0], []).append(node)
    return list(found.values())


def _depends(graph: Graph, key: int, layers: Collection[int]) -> bool:
    """Whether a tensor is made by any of the layers, directly or through others."""
    producers = graph.producers()
    seen, waiting = {key}, [key]
    while waiting:
        node = producers[waiting.pop()]
        if id(node.layer) in layers:
            return True
        waiting += set(node.inputs) - seen
        seen.update(node.inputs)
    return False


class _Pass:
    """The layers that read one tensor: gathers their moments, solves them, writes the integers.

    Args:
        graph: The float model.
        quantized: The quantized one.
        nodes: First calls of the layers.
        unsolved: Ids of the layers of this pass and those after.
    """

    def __init__(
        self, graph: Graph, quantized: Graph, nodes: list[Node], unsolved: Collection[int]
    ) -> None:
        by_name = {node.name: node for node in reversed(graph.nodes)}
        consumers = graph.consumers()
        # What each layer reads, in all its calls.
        self._read = [
            list(dict.fromkeys(n.inputs[0] for n in quantized.nodes if n.layer is node.layer))
            for node in nodes
        ]
        self._keys = list(dict.fromkeys(key for keys in self._read for key in keys))
        # What further calls read may come from layers without their integers, such as these.
        self._as_float = {
            key
            for key in self._keys
            if key != nodes[0].inputs[0] and _depends(quantized, key, unsolved)
        }
        floats = matching(graph, quantized, ActivationQuantizer)
        # Built on the models' own symbolic tensors: none of their layers is called anew.
        self._float_probe = keras.Model(
            graph.inputs_struct, [graph.tensors[floats[key]] for key in self._keys]
        )
        self._probe = keras.Model(
            quantized.inputs_struct, [quantized.tensors[key] for key in self._keys]
        )
        layers = {node.name: node.layer for node in quantized.nodes}
        self._layers = [
            _Layer(
                by_name[node.name].layer,
                node.layer,
                [(r.layer, layers[r.name]) for r in consumers[by_name[node.name].output]],
            )
            for node in nodes
        ]

    def run(self, data: RepeatableData) -> None:
        for batch in data:
            inputs, floats = (
                dict(zip(self._keys, _arrays(probe(batch, training=False)), strict=True))
                for probe in (self._probe, self._float_probe)
            )
            for layer, keys in zip(self._layers, self._read, strict=True):
                for key in keys:
                    own = floats if key in self._as_float else inputs
                    layer.gather(own[key], floats[key])
        for layer in self._layers:
            layer.settle()


def _arrays(tensors: Any) -> list[NDArray[Any]]:
    return [_numpy(tensor) for tensor in keras.tree.flatten(tensors)]


def _numpy(tensor: Any) -> NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


class _Layer:
    """One layer's moments on the way to its integers.

    Args:
        float_layer: The layer in the float model.
        layer: And in the quantized one.
        readers: The layers that read its output, in both.
    """

    def __init__(self, float_layer: Any, layer: Any, readers: list[tuple[Any, Any]]) -> None:
        self._layer = layer
        self._method: AXE = layer.method
        self._geometry = Geometry(layer)
        self._weights = self._geometry.grouped(_numpy(float_layer.kernel))
        self._offset = (
            _offset(float_layer, layer, readers) if self._method.bias_correction else None
        )
        self._gram = Gram(
            self._weights,
            cross=self._method.algorithm == "gpfq",
            overlap=self._geometry.overlap,
        )

    def gather(self, inputs: NDArray[Any], floats: NDArray[Any]) -> None:
        """Adds a batch: the layer's input tensor in the quantized and in the float model."""
        for own, others in self._geometry.vectors(inputs, floats):
            self._gram.add(own, others)

    def settle(self) -> None:
        """Solves the layer and writes its integers, scales and, where wanted, its bias."""
        moments = self._gram.moments()
        del self._gram
        _, scales = self._layer.quantized_kernel()
        solution = solve(
            self._weights,
            scales.astype(np.float64).reshape(len(self._weights), -1),
            moments if self._offset is None else moments.centred(),
            self._layer.operands,
            self._method,
        )
        self._layer.set_integer_weights(
            self._geometry.kernel(solution.q).astype(np.int8), solution.scales.reshape(-1)
        )
        if self._offset is not None:
            # Of the scales as float32 has them.
            _, scales = self._layer.quantized_kernel()
            weights = solution.q * scales.astype(np.float64).reshape(len(solution.q), 1, -1)
            self._offset.set(moments.mean_error(weights).reshape(-1))


@dataclass(frozen=True)
class _Offset:
    """What takes up a constant in a layer's output.

    Attributes:
        source: The variable in the float model.
        variable: The same in the quantized one.
        sign: 1 for a bias, -1 for a mean.
    """

    source: Any
    variable: Any
    sign: int

    def set(self, change: FloatArray) -> None:
        self.variable.assign(_numpy(self.source) + (self.sign * change).astype(np.float32))


def _offset(float_layer: Any, layer: Any, readers: list[tuple[Any, Any]]) -> _Offset | None:
    """The layer's bias, or the mean of the BatchNormalization that reads it; None without."""
    if layer.bias is not None:
        return _Offset(float_layer.bias, layer.bias, 1)
    if len(readers) == 1:
        float_norm, norm = readers[0]
        if isinstance(norm, keras.layers.BatchNormalization):
            return _Offset(float_norm.moving_mean, norm.moving_mean, -1)
    return None
