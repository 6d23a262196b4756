"""Recipes of quantized models, and models by recipes."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

import keras_accq
from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.groups import Group
from keras_accq.graph.nodes import Graph
from keras_accq.graph.supported import Kind, kind
from keras_accq.kerases import as_keras3
from keras_accq.layers import ActivationQuantizer, QuantizedWeights
from keras_accq.layers.kernels import channels, is_depthwise
from keras_accq.quantizers import methods
from keras_accq.quantizers.operands import Operands
from keras_accq.recipe import LayerRecipe, Provenance, Recipe, TensorRecipe
from keras_accq.widths import GroupWidths, LayerWidths, excluded


def recipe_of(qmodel: keras.Model) -> Recipe:
    """What was decided for each layer of a quantized model.

    `accq.quantize(model, recipe=...)` of the same float model makes the same integers again, if the
    quantized one was not trained since; of a trained one it keeps widths, scales and ranges.

    Args:
        qmodel: A model from `accq.quantize`.

    Raises:
        UnsupportedModelError: Not a model from `accq.quantize`.
    """
    qmodel = as_keras3(qmodel)
    layers = getattr(qmodel, "layers", ())
    compute = [layer for layer in layers if isinstance(layer, QuantizedWeights)]
    quantizers = [layer for layer in layers if isinstance(layer, ActivationQuantizer)]
    if not compute:
        raise UnsupportedModelError(
            f"expected a model that accq.quantize returned, came {type(qmodel).__name__} "
            f"{getattr(qmodel, 'name', '')!r} without quantized layers"
        )
    return Recipe(
        qmodel.name,
        "fixed_point" if quantizers[0].power_of_two else "free",
        tuple(_layer_recipe(layer) for layer in compute),
        tuple(_tensor_recipe(quantizer) for quantizer in quantizers),
        Provenance("accq.recipe_of", keras_accq.__version__),
    )


def _layer_recipe(layer: Any) -> LayerRecipe:
    operands = layer.operands
    constrained = operands.acc_bits is not None
    return LayerRecipe(
        layer.name,
        tuple(int(size) for size in layer.kernel.shape),
        operands.acc_bits,
        operands.weight_bits,
        operands.input_bits,
        operands.tile,
        layer.method.name if constrained else None,
        layer.method.get_config() if constrained else {},
        shortest(layer.log2_scales()) if constrained else None,
    )


def _tensor_recipe(quantizer: Any) -> TensorRecipe:
    # Quantizers are named after their group; a number avoids names that were taken.
    name = re.sub(r"_quantizer(_\d+)?$", "", quantizer.name)
    low, high = quantizer.spanned() if quantizer.has_range() else (None, None)
    clip = quantizer.clip if low is None else None
    return TensorRecipe(name, quantizer.bits, low, high, clip, quantizer.learn)


def shortest(values: Iterable[Any]) -> tuple[float, ...]:
    """float32 numbers as the shortest decimals that are them."""
    return tuple(float(str(np.float32(value))) for value in values)


def check_arguments(recipe: Recipe, widths: Mapping[str, Any], others: Iterable[str]) -> None:
    """Refuses arguments of `accq.quantize` that the recipe decides otherwise.

    Args:
        recipe: The recipe.
        widths: acc_bits, weight_bits, input_bits and tile as given; None if not.
        others: Names of further arguments that were given.

    Raises:
        ValueError: Naming them.
    """
    constrained = [layer for layer in recipe.layers if not layer.excluded]
    problems = [f"{name} (the recipe has a value for each layer)" for name in others]
    for name, value in widths.items():
        decided = sorted({getattr(layer, name) for layer in constrained}, key=str)
        if value is not None and decided != [value]:
            problems.append(f"{name}={value!r} (the recipe says {decided})")
    if problems:
        raise ValueError(
            f"recipe: contradicted by {', '.join(problems)}; leave these arguments out, or change "
            "the recipe with dataclasses.replace"
        )


def check(recipe: Recipe, graph: Graph, groups: list[Group]) -> None:
    """Refuses a recipe for another model.

    Args:
        recipe: A complete recipe.
        graph: The float model, without batch normalization for a fixed-point recipe.
        groups: Its scale groups.

    Raises:
        ValueError: Layers, kernel shapes or tensors that differ, all of them listed; widths or
            scales that do not go together.
    """
    compute = {node.name: node.layer for node in graph.nodes if kind(node.layer) is Kind.COMPUTE}
    layers = {layer.name: layer for layer in recipe.layers}
    problems = _unpaired("layers", layers, compute)
    for name in layers.keys() & compute.keys():
        ours, theirs = layers[name].kernel_shape, tuple(compute[name].kernel.shape)
        if ours != theirs:
            problems.append(f"{name}: kernel {ours} in the recipe, {theirs} in the model")
    tensors = {tensor.name: tensor for tensor in recipe.tensors}
    problems += _unpaired("tensors", tensors, {group.name: group for group in groups})
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(
            f"recipe: made for another model than {graph.model.name!r} (for {recipe.model!r}):\n"
            f"{listed}\nMake one for this model with accq.search, or with accq.recipe_of"
        )
    for group in groups:
        _check_group(group, tensors[group.name], layers)


def _unpaired(what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    lines = []
    for place, names in (
        ("recipe", [name for name in ours if name not in theirs]),
        ("model", [name for name in theirs if name not in ours]),
    ):
        if names:
            lines.append(f"{what} only in the {place}: {', '.join(names)}")
    return lines


def _check_group(group: Group, tensor: TensorRecipe, layers: Mapping[str, LayerRecipe]) -> None:
    for node in group.readers:
        layer = layers[node.name]
        if layer.excluded:
            continue
        if layer.input_bits != tensor.bits:
            raise ValueError(
                f"recipe: {layer.name} takes {layer.input_bits} input bits, and tensor "
                f"{tensor.name!r}, which it reads, has {tensor.bits}; expected the same"
            )
        count = channels(node.layer)
        if layer.log2_scales is None or len(layer.log2_scales) != count:
            received = None if layer.log2_scales is None else len(layer.log2_scales)
            raise ValueError(
                f"recipe: {layer.name}: expected {count} log2_scales, one per output channel, "
                f"received {received}"
            )


def group_widths(recipe: Recipe, group: Group) -> GroupWidths:
    """What becomes of one scale group by a recipe that `check` passed.

    Raises:
        BudgetError, TypeError, ValueError: A method or options that do not exist, or widths for
            which the accumulator holds no product.
    """
    layers = {layer.name: layer for layer in recipe.layers}
    (tensor,) = (tensor for tensor in recipe.tensors if tensor.name == group.name)
    return GroupWidths(
        tensor.bits,
        tensor.range,
        tensor.clip,
        {
            node.name: _layer_widths(layers[node.name], node.layer, recipe.scheme)
            for node in group.readers
        },
        tensor.learn,
    )


def _layer_widths(recipe: LayerRecipe, layer: Any, scheme: str) -> LayerWidths:
    if recipe.acc_bits is None:
        return excluded(channels(layer), scheme == "fixed_point")
    return LayerWidths(
        Operands(
            recipe.acc_bits,
            recipe.input_bits,
            recipe.weight_bits,
            recipe.tile,
            is_depthwise(layer),
        ),
        methods.get(recipe.method, **recipe.options),
        np.exp2(np.asarray(recipe.log2_scales, np.float32).astype(np.float64)),
        "given",
    )
