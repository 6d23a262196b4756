"""Layers that are several, and operations that are layers, written out in a float model."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_accq.graph.affine import affine_of, operation_of
from keras_accq.graph.attention import write_attention
from keras_accq.graph.copied import Copies, Tensors, rebuilt
from keras_accq.graph.nodes import Graph, Node, argument, read
from keras_accq.graph.supported import FUSED_ACTIVATIONS, Kind, kind, known_activation

_Rule = Callable[["_Writer", Node, Tensors], Any]
_LAYERS = {
    "Add": keras.layers.Add,
    "Subtract": keras.layers.Subtract,
    "Multiply": keras.layers.Multiply,
}


def rule(node: Node) -> Any:
    """What writes a node out, or None if nothing has to."""
    layer = node.layer
    if operation_of(layer) is not None:
        if affine_of(node) is not None:
            return _Writer.copy_operation
        return _Writer.merge if operation_of(layer) in _LAYERS and len(node.inputs) == 2 else None
    if type(layer) is keras.layers.Normalization:
        return _Writer.copy if affine_of(node) is not None else None
    if type(layer) is keras.layers.Rescaling:
        return _Writer.copy if affine_of(node) is not None else None
    if type(layer) is keras.layers.SeparableConv2D:
        return _Writer.separable if layer.data_format == "channels_last" else None
    if type(layer) is keras.layers.MultiHeadAttention:
        return _Writer.attention
    if type(layer) is keras.layers.ReLU:
        plain = not layer.threshold and layer.max_value is None
        return _Writer.leaky_relu if layer.negative_slope and plain else None
    if type(layer) is keras.layers.Activation:
        return _ACTIVATIONS.get(layer.activation)
    if _has_own_activation(layer):
        return _Writer.apart
    return None


def _has_own_activation(layer: Any) -> bool:
    """Whether a compute layer ends in an activation that is a layer of its own in a file."""
    activation = getattr(layer, "activation", None)
    return (
        kind(layer) is Kind.COMPUTE
        and activation not in FUSED_ACTIVATIONS
        and (known_activation(activation) or activation in _ACTIVATIONS)
    )


def write_out(graph: Graph) -> Graph:
    """The model with all that `rule` knows written out; without nested models."""
    gates = _hard_sigmoids(graph)
    if not gates and all(rule(node) in (None, _Writer.copy) for node in graph.nodes):
        return graph
    writer = _Writer(gates)
    return read(rebuilt(graph, writer.visit))


class _Writer:
    """See `write_out`.

    Args:
        gates: By the key of its result, the key of what a hard_sigmoid written in operations reads.
    """

    def __init__(self, gates: Mapping[int, int]) -> None:
        self._gates = gates
        self._copies = Copies()
        self._layers: dict[str, Any] = {}

    def visit(self, node: Node, tensors: Tensors) -> Any:
        if node.output in self._gates:
            x = tensors[self._gates[node.output]]
            return keras.layers.Activation("hard_sigmoid", name=node.name)(x)
        write: _Rule | None = rule(node)
        return (_Writer.copy if write is None else write)(self, node, tensors)

    def copy(self, node: Node, tensors: Tensors) -> Any:
        return self._copies.call(node, tensors)

    def copy_operation(self, node: Node, tensors: Tensors) -> Any:
        return node.call(type(node.layer).from_config(node.layer.get_config()), tensors)

    def merge(self, node: Node, tensors: Tensors) -> Any:
        name = operation_of(node.layer)
        assert name is not None
        return node.call(lambda a, b: _LAYERS[name](name=node.name)([a, b]), tensors)

    def _layer(self, cls: Any, name: str, **settings: Any) -> Any:
        """A new layer of that name, or the one that an earlier call of the node's layer made."""
        if name not in self._layers:
            self._layers[name] = cls(name=name, **settings)
        return self._layers[name]

    def separable(self, node: Node, tensors: Tensors) -> Any:
        old = node.layer
        first = self._layer(
            keras.layers.DepthwiseConv2D,
            f"{old.name}-depthwise",
            kernel_size=old.kernel_size,
            strides=old.strides,
            padding=old.padding,
            depth_multiplier=old.depth_multiplier,
            dilation_rate=old.dilation_rate,
            use_bias=False,
            depthwise_regularizer=old.depthwise_regularizer,
            depthwise_constraint=old.depthwise_constraint,
            trainable=old.trainable,
            dtype=old.dtype_policy,
        )
        second = self._layer(
            keras.layers.Conv2D,
            f"{old.name}-pointwise",
            filters=old.filters,
            kernel_size=1,
            use_bias=old.use_bias,
            kernel_regularizer=old.pointwise_regularizer,
            kernel_constraint=old.pointwise_constraint,
            bias_regularizer=old.bias_regularizer,
            bias_constraint=old.bias_constraint,
            trainable=old.trainable,
            dtype=old.dtype_policy,
        )
        y = second(first(argument(node, tensors)))
        first.set_weights([_array(old.depthwise_kernel)])
        bias = [] if old.bias is None else [_array(old.bias)]
        second.set_weights([_array(old.pointwise_kernel), *bias])
        return self._activated(y, old.activation, old.name)

    def attention(self, node: Node, tensors: Tensors) -> Any:
        return write_attention(node, tensors, self._layer)

    def apart(self, node: Node, tensors: Tensors) -> Any:
        """The layer without its activation, and that."""
        old = node.layer
        config = {**old.get_config(), "activation": "linear"}
        config.pop("quantization_config", None)
        layer = self._layers.get(old.name)
        if layer is None:
            layer = self._layers[old.name] = type(old).from_config(config)
        y = node.call(layer, tensors)
        layer.set_weights([_array(value) for value in old.weights])
        return self._activated(y, old.activation, old.name)

    def _activated(self, y: Any, activation: Any, name: str) -> Any:
        if activation is keras.activations.linear:
            return y
        if activation in _GATES:
            return self._gated(y, activation, f"{name}-{activation.__name__}")
        if activation is keras.activations.leaky_relu:
            return self._layer(keras.layers.LeakyReLU, f"{name}-leaky_relu", negative_slope=0.2)(y)
        called = f"{name}-{activation.__name__}"
        return self._layer(keras.layers.Activation, called, activation=activation)(y)

    def gated(self, node: Node, tensors: Tensors) -> Any:
        return self._gated(argument(node, tensors), node.layer.activation, node.name)

    def _gated(self, x: Any, activation: Any, name: str) -> Any:
        """x times a function of x."""
        gate = _GATES[activation]
        layer = self._layer(keras.layers.Activation, f"{name}-{gate}", activation=gate)
        return self._layer(keras.layers.Multiply, name)([x, layer(x)])

    def leaky_relu(self, node: Node, tensors: Tensors) -> Any:
        # What keras.activations.leaky_relu takes when it is given no slope.
        slope = float(getattr(node.layer, "negative_slope", 0.2))
        layer = self._layer(keras.layers.LeakyReLU, node.name, negative_slope=slope)
        return layer(argument(node, tensors))


# HARD_SWISH would be one operator, but LiteRT's computes in 16 bits: near halfway between two
# integers it takes the other one.
_GATES = {
    keras.activations.silu: "sigmoid",
    keras.activations.hard_silu: "hard_sigmoid",
}
_ACTIVATIONS: dict[Any, _Rule] = {
    **dict.fromkeys(_GATES, _Writer.gated),
    keras.activations.leaky_relu: _Writer.leaky_relu,
}


def _hard_sigmoids(graph: Graph) -> dict[int, int]:
    """relu6(x + 3) / 6 written in layers and operations: the key of x by that of the result."""
    consumers, producers, outputs = graph.consumers(), graph.producers(), graph.outputs()

    def alone(key: int) -> bool:
        return len(consumers[key]) == 1 and key not in outputs

    def is_affine(node: Node | None, factor: float, offset: float) -> bool:
        found = None if node is None else affine_of(node)
        return found is not None and found.is_near(factor, offset)

    gates = {}
    for last in graph.nodes:
        if not is_affine(last, 1 / 6, 0.0) or not alone(last.inputs[0]):
            continue
        clip = producers[last.inputs[0]]
        if not _is_relu6(clip.layer) or not alone(clip.inputs[0]):
            continue
        first = producers[clip.inputs[0]]
        if first.inputs and is_affine(first, 1.0, 3.0):
            gates[last.output] = first.inputs[0]
    return gates


def _is_relu6(layer: Any) -> bool:
    if kind(layer) is not Kind.RELU:
        return False
    if type(layer) is keras.layers.ReLU:
        return layer.max_value == 6 and not layer.negative_slope and not layer.threshold
    return layer.activation is keras.activations.relu6


def _array(variable: Any) -> Any:
    return np.array(keras.ops.convert_to_numpy(variable))
