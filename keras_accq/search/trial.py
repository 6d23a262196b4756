"""A float model in which any of its layers can be quantized, and freed again, in place.

A search tries hundreds of settings. Here each is a matter of assigning variables: nothing is built
or traced anew. What is computed is what `accq.quantize` of the same recipe computes.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_accq import reuse
from keras_accq.bounds import operand_range
from keras_accq.graph.build import Builder
from keras_accq.graph.groups import Group
from keras_accq.graph.nodes import Graph, Node
from keras_accq.graph.supported import has_softmax
from keras_accq.layers.kernels import from_matrix, to_matrix
from keras_accq.quantizers.activation import fake_quantize, fake_quantize_average
from keras_accq.quantizers.grids import grid
from keras_accq.quantizers.max_scale import MaxScale
from keras_accq.quantizers.operands import Operands
from keras_accq.recipe import LayerRecipe, Recipe, TensorRecipe
from keras_accq.widths import GroupWidths, LayerWidths, excluded


class TrialQuantizer(keras.layers.Layer):
    """`ActivationQuantizer` for inference, with a grid that can be changed or taken away."""

    def __init__(self, symmetric: bool, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self._symmetric = symmetric

    def build(self, input_shape: Any) -> None:
        self._values = {
            name: self.add_weight(
                name=name, shape=(), initializer=value, trainable=False, dtype="float32"
            )
            for name, value in (
                ("active", "zeros"),
                ("scale", "ones"),
                ("zero_point", "zeros"),
                ("low", "zeros"),
                ("high", "zeros"),
            )
        }

    def call(self, inputs: Any, narrow: bool = False, requantize: bool = False) -> Any:
        """See `ActivationQuantizer.call`."""
        values = {name: ops.convert_to_tensor(v) for name, v in self._values.items()}
        rounded = fake_quantize_average if requantize else fake_quantize
        quantized = rounded(inputs, values["scale"], values["zero_point"], 8)
        if narrow:
            quantized = ops.clip(quantized, values["low"], values["high"])
        return ops.where(values["active"] > 0, quantized, inputs)

    def set_grid(self, tensor: TensorRecipe | None, power_of_two: bool) -> None:
        """Quantizes on a tensor's grid; None to hand values through."""
        if tensor is None or tensor.range is None:
            self._values["active"].assign(0.0)
            return
        smallest, largest = operand_range(tensor.bits)
        values = grid(*tensor.range, tensor.bits, power_of_two, symmetric=self._symmetric)
        scale, zero_point = (np.float32(value) for value in values)
        # The products that rounding gives, so that clamping makes no new numbers.
        ends = {"low": (smallest - zero_point) * scale, "high": (largest - zero_point) * scale}
        for name, value in {"scale": scale, "zero_point": zero_point, **ends}.items():
            self._values[name].assign(value)
        self._values["active"].assign(1.0)


class _TrialBuilder(Builder):
    """Builds the float model with quantizers in all places, layers clamping their inputs."""

    def __init__(self, graph: Graph, groups: list[Group], excluded_names: set[str]) -> None:
        self.quantizers: dict[str, TrialQuantizer] = {}
        self.compute: dict[str, Any] = {}
        super().__init__(graph, groups, [_anything(group, excluded_names) for group in groups])
        for group in groups:
            self.quantizers[group.name] = self._quantizers[id(group)]

    def _quantizer(self, chosen: GroupWidths, name: str, symmetric: bool) -> Any:
        return TrialQuantizer(symmetric, name=name)

    def _quantized(self, node: Node) -> Any:
        config = node.layer.get_config()
        if has_softmax(node.layer):
            config["activation"] = "linear"
        self.compute[node.name] = layer = type(node.layer).from_config(config)
        return layer

    def _copy_weights(self, node: Node, layer: Any) -> None:
        if layer.weights:
            layer.set_weights([np.array(value) for value in node.layer.get_weights()])


def _anything(group: Group, excluded_names: set[str]) -> GroupWidths:
    """Any widths that have the constrained readers of a group clamp their inputs, if narrow."""
    narrow = LayerWidths(Operands(None, 7, 8), MaxScale(), np.ones(1), "given")
    wide = excluded(1, False)
    layers = {n.name: wide if n.name in excluded_names else narrow for n in group.readers}
    return GroupWidths(7, None, None, layers)


class Trial:
    """A float model, and the recipe that it is quantized by.

    Args:
        graph: A supported model, without batch normalization for fixed-point recipes.
        groups: Its scale groups.
        excluded_names: Layers that recipes will exclude from the constraint.

    Attributes:
        model: The Keras model. Recipes apply to it in place.
    """

    def __init__(self, graph: Graph, groups: list[Group], excluded_names: set[str]) -> None:
        self._groups = groups
        builder = _TrialBuilder(graph, groups, excluded_names)
        self.model = builder.build()
        self._quantizers = builder.quantizers
        self._layers = builder.compute
        self._floats = {
            name: keras.ops.convert_to_numpy(layer.kernel) for name, layer in self._layers.items()
        }
        self._applied: dict[str, LayerRecipe | None] = dict.fromkeys(self._layers)

    def apply(self, recipe: Recipe) -> None:
        """Quantizes the tensors and layers that a recipe names, and leaves all others float.

        Args:
            recipe: It may lack tensors together with all layers that read them.
        """
        tensors = {tensor.name: tensor for tensor in recipe.tensors}
        layers = {layer.name: layer for layer in recipe.layers}
        for group in self._groups:
            self._quantizers[group.name].set_grid(
                tensors.get(group.name), recipe.scheme == "fixed_point"
            )
            if not any(layers.get(n.name) != self._applied[n.name] for n in group.readers):
                continue
            chosen = reuse.group_widths(recipe, group).layers if group.name in tensors else {}
            for node in group.readers:
                self._set_kernel(node.name, chosen.get(node.name))
                self._applied[node.name] = layers.get(node.name)

    def _set_kernel(self, name: str, chosen: LayerWidths | None) -> None:
        layer, kernel = self._layers[name], self._floats[name]
        if chosen is not None:
            matrix = to_matrix(layer, kernel.astype(np.float64))
            v, parameters = chosen.method.initial(matrix, chosen.scales, chosen.operands)
            integers, scale = chosen.method.quantize(
                ops.convert_to_tensor(v),
                {key: ops.convert_to_tensor(value) for key, value in parameters.items()},
                chosen.operands,
            )
            kernel = from_matrix(layer, ops.convert_to_numpy(integers * scale))
        layer.kernel.assign(kernel)
