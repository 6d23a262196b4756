"""Building the quantized model: the same layers, with quantizers where scale groups begin."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_accq.graph.copied import mapped, new_inputs
from keras_accq.graph.groups import Group, only_narrow, softmax_layer_name
from keras_accq.graph.nodes import Graph, Node
from keras_accq.graph.supported import Kind, has_softmax, kind
from keras_accq.layers import (
    ActivationQuantizer,
    QuantizedConv1D,
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    QuantizedPReLU,
)
from keras_accq.widths import GroupWidths, LayerWidths

# The quantized counterparts of the compute layers.
QUANTIZED: dict[type, Any] = {
    keras.layers.Conv1D: QuantizedConv1D,
    keras.layers.Conv2D: QuantizedConv2D,
    keras.layers.Conv2DTranspose: QuantizedConv2DTranspose,
    keras.layers.DepthwiseConv2D: QuantizedDepthwiseConv2D,
    keras.layers.Dense: QuantizedDense,
}


def build(
    graph: Graph, groups: list[Group], widths: list[GroupWidths], power_of_two: bool = False
) -> keras.Model:
    """A new model with the graph's layers and weights, quantized.

    Args:
        graph: A supported model.
        groups: Its scale groups.
        widths: What becomes of each group.
        power_of_two: Whether all scales are powers of two, and stay so in training.
    """
    return Builder(graph, groups, widths, power_of_two).build()


class Builder:
    """See `build`. What the new layers are is up to the methods that a subclass may replace."""

    def __init__(
        self,
        graph: Graph,
        groups: list[Group],
        widths: list[GroupWidths],
        power_of_two: bool = False,
    ) -> None:
        self._graph = graph
        self._power_of_two = power_of_two
        self._layers: dict[str, LayerWidths] = {}
        self._group_of = {key: group for group in groups for key in group.tensors}
        self._sources = {node.output for group in groups for node in group.sources}
        self._quantizers: dict[int, Any] = {}
        self._ranges: list[tuple[ActivationQuantizer, tuple[float, float]]] = []
        taken = {node.name for node in (*graph.inputs, *graph.nodes)}
        for group, chosen in zip(groups, widths, strict=True):
            self._layers.update(chosen.layers)
            name = free_name(f"{group.name}_quantizer", taken)
            quantizer = self._quantizer(chosen, name, group.symmetric)
            self._quantizers[id(group)] = quantizer
            if chosen.range is not None:
                self._ranges.append((quantizer, chosen.range))
        narrow_readers = {
            name for name, layer in self._layers.items() if layer.operands.input_bits < 8
        }
        self._narrow_readers = narrow_readers
        self._made_narrow = only_narrow(graph, narrow_readers)
        self._taken = taken
        # The new model's tensors by key of the old, and those clamped to N bits, which are the
        # same ones where nothing else reads them.
        self._tensors: dict[int, Any] = {}
        self._narrow: dict[int, Any] = {}
        # The new layers by the id of the old, with the first node of each.
        self._rebuilt: dict[int, tuple[Node, Any]] = {}

    def build(self) -> keras.Model:
        self._tensors = new_inputs(self._graph)
        inputs = mapped(self._graph.inputs_struct, self._tensors)
        for node in self._graph.inputs:
            self._quantize(node.output)
        for node in self._graph.nodes:
            if kind(node.layer) is Kind.COMPUTE:
                self._add_compute(node)
            else:
                self._add_other(node)
        outputs = mapped(self._graph.outputs_struct, self._tensors)
        model = keras.Model(inputs, outputs, name=self._graph.model.name)
        for quantizer, (low, high) in self._ranges:
            quantizer.set_range(low, high)
        for node, layer in self._rebuilt.values():
            self._copy_weights(node, layer)
        return model

    def _add_compute(self, node: Node) -> None:
        layer = self._new(node, self._quantized)
        tensors = self._tensors
        if node.name in self._narrow_readers:
            tensors = {key: self._narrowed(key) for key in node.inputs}
        self._tensors[node.output] = node.call(layer, tensors)
        self._quantize(node.output)
        if has_softmax(node.layer):
            softmax = keras.layers.Softmax(name=free_name(softmax_layer_name(node), self._taken))
            self._tensors[node.output] = softmax(self._tensors[node.output])

    def _add_other(self, node: Node) -> None:
        layer = self._new(node, _replacement)
        self._tensors[node.output] = node.call(layer, self._tensors)
        if kind(node.layer) is Kind.AVERAGE:
            # Averages are new values on the old grid; `_narrowed` clamps them where need be.
            quantizer = self._quantizers[id(self._group_of[node.output])]
            self._tensors[node.output] = quantizer(self._tensors[node.output], requantize=True)
        elif node.output in self._sources:
            self._quantize(node.output)
        elif node.output in self._group_of and all(key in self._narrow for key in node.inputs):
            self._narrow[node.output] = self._tensors[node.output]

    def _new(self, node: Node, make: Callable[[Node], Any]) -> Any:
        """The layer that takes the place of a node's: one, however often it is called."""
        if id(node.layer) not in self._rebuilt:
            self._rebuilt[id(node.layer)] = node, make(node)
        return self._rebuilt[id(node.layer)][1]

    def _quantize(self, key: int) -> None:
        """Quantizes a tensor that gives its group the range, if it is one."""
        if key not in self._sources:
            return
        narrow = key in self._made_narrow
        quantizer = self._quantizers[id(self._group_of[key])]
        self._tensors[key] = quantizer(self._tensors[key], narrow=narrow)
        if narrow:
            self._narrow[key] = self._tensors[key]

    def _narrowed(self, key: int) -> Any:
        if key not in self._narrow:
            quantizer = self._quantizers[id(self._group_of[key])]
            self._narrow[key] = quantizer(self._tensors[key], narrow=True, requantize=True)
        return self._narrow[key]

    def _quantizer(self, chosen: GroupWidths, name: str, symmetric: bool) -> Any:
        return ActivationQuantizer(
            chosen.bits,
            observe=chosen.range is None,
            clip=chosen.clip,
            power_of_two=self._power_of_two,
            learn=chosen.learn,
            symmetric=symmetric,
            name=name,
        )

    def _quantized(self, node: Node) -> Any:
        chosen = self._layers[node.name]
        config = node.layer.get_config()
        # Keras keeps its own quantization settings here, which plain float layers do not have.
        config.pop("quantization_config", None)
        if has_softmax(node.layer):
            config["activation"] = "linear"
        return QUANTIZED[type(node.layer)].from_config(
            {
                **config,
                "acc_bits": chosen.operands.acc_bits,
                "weight_bits": chosen.operands.weight_bits,
                "input_bits": chosen.operands.input_bits,
                "tile": chosen.operands.tile,
                "method": chosen.method,
                "widths_from": chosen.widths_from,
                "power_of_two": self._power_of_two,
            }
        )

    def _copy_weights(self, node: Node, layer: Any) -> None:
        if kind(node.layer) is Kind.COMPUTE:
            old = node.layer
            layer.set_float_weights(
                keras.ops.convert_to_numpy(old.kernel),
                None if old.bias is None else keras.ops.convert_to_numpy(old.bias),
                self._layers[node.name].scales,
            )
        elif node.layer.weights:
            layer.set_weights([np.array(value) for value in node.layer.get_weights()])


def _replacement(node: Node) -> Any:
    """What a layer without dot products becomes."""
    kept = type(node.layer)
    new = QuantizedPReLU if kept is keras.layers.PReLU else kept
    return new.from_config(node.layer.get_config())


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with a number if a layer has that name; it is then taken."""
    name, number = wanted, 1
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name
