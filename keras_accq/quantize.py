"""From a Keras model to a trainable one whose dot products fit narrow accumulators.

The road: read the model's layers (`graph.nodes`), written out in those that can be quantized
(`graph.expand`), check all of it (`graph.supported`), find which
tensors share a scale (`graph.groups`), measure them (`calibration`), choose what the caller left
open (`widths`), and build a new model (`graph.build`). Nothing is built before all is checked.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq import reuse, widths
from keras_accq.calibration import measure
from keras_accq.graph.absorb import absorb_batch_norms
from keras_accq.graph.expand import expand
from keras_accq.graph.groups import Group, find
from keras_accq.graph.nodes import Graph, read
from keras_accq.graph.supported import Kind, check, check_fixed_point, kind
from keras_accq.kerases import is_tf_keras
from keras_accq.layers.kernels import to_matrix
from keras_accq.plan import Plan, realize
from keras_accq.ptq import auto
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.equalize import equalize
from keras_accq.ptq.input_bits import choose as choose_input_bits
from keras_accq.quantizers import methods
from keras_accq.ranges import check_rule
from keras_accq.recipe import SCHEMES, Recipe
from keras_accq.settings import LayerSettings, resolve

Range = tuple[float, float]


def quantize(
    model: keras.Model,
    acc_bits: int | None = None,
    *,
    method: Any = "a2q",
    weight_bits: int | None = None,
    input_bits: int | None = None,
    tile: int | None = None,
    exclude: str | Iterable[str] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    calibration_data: Any = None,
    input_range: Range | Mapping[str, Range] | None = None,
    activation_range: str = "mse",
    scheme: str = "free",
    recipe: Recipe | None = None,
    **method_options: Any,
) -> keras.Model:
    """A trainable copy of a model whose dot products fit accumulators of `acc_bits` bits.

    The copy keeps layer names, compiles, trains, saves and loads like any Keras model, and starts
    as near to the float weights as the budget allows. The model given is left as it is.

    Args:
        model: A built Sequential or Functional model of Keras 3, or of tf_keras (Keras 2), which
            needs the extra `tfmot`; the copy is of the same Keras.
        acc_bits: P, 2..32; None for 16, or what the recipe says.
        method: A name from `quantizers.methods`, such as "a2q", or a method object such as
            `A2Q(regularization=1e-3)`.
        weight_bits: M, 2..8; None lets the fill rule choose it for each layer.
        input_bits: N, 2..8, of the layers' inputs; None lets the fill rule choose.
        tile: Consecutive weights, in file order, that share an accumulator; None, all of a channel.
        exclude: Layers left unconstrained, at 8 bits: "first_last", or names or patterns
            (`fnmatch`).
        overrides: Other settings by layer name or pattern: a dict with some of acc_bits,
            weight_bits, input_bits, tile, method, exclude. Later ones win.
        calibration_data: An array, a dict of arrays, or batches of them, in the units of the
            model's inputs. Fixes the activations' ranges; without it training observes them.
        input_range: The smallest and largest value of the model's inputs, such as (0, 255), or a
            dict of such pairs by input name. Before a Rescaling layer, if there is one.
        activation_range: Which values the grids of activations span: "mse", the range with the
            least squared error; "percentile", without 0.1 % of the values at each end; "minmax",
            all of them. With 8 bits "mse" is "minmax".
        scheme: "free" scales, or "fixed_point": all scales, of weights and activations, are powers
            of two, in training and in the file. BatchNormalization is folded into the layers
            before it first, as its factors are no powers of two.
        recipe: What to make of each layer, from `accq.search` or `accq.recipe_of`, instead of all
            other arguments but `calibration_data`, which only post-training methods need then. From
            the same float weights come the same integers.
        **method_options: Options of the method, if it is given by its name.

    Returns:
        A new functional model.

    Raises:
        UnsupportedModelError: Some layers can not be quantized; the text lists all of them.
        BudgetError: An accumulator does not hold a single product.
        TypeError, ValueError: Bad arguments or weights; a recipe for another model, or one that
            other arguments contradict.
    """
    if is_tf_keras(model):
        from keras_accq.tfmot.front import quantize_tf_keras

        return quantize_tf_keras(
            model,
            acc_bits,
            method=method,
            weight_bits=weight_bits,
            input_bits=input_bits,
            tile=tile,
            exclude=exclude,
            overrides=overrides,
            calibration_data=calibration_data,
            input_range=input_range,
            activation_range=activation_range,
            scheme=scheme,
            recipe=recipe,
            **method_options,
        )
    if recipe is not None:
        if not isinstance(recipe, Recipe):
            raise TypeError(
                f"recipe: expected a Recipe, received {recipe!r}; Recipe.load reads a file"
            )
        widths_given = {
            "acc_bits": acc_bits,
            "weight_bits": weight_bits,
            "input_bits": input_bits,
            "tile": tile,
        }
        others = {
            "method": method != "a2q",
            "exclude": bool(exclude),
            "overrides": overrides is not None,
            "input_range": input_range is not None,
            "activation_range": activation_range != "mse",
            "scheme": scheme not in ("free", recipe.scheme),
            **dict.fromkeys(method_options, True),
        }
        reuse.check_arguments(recipe, widths_given, [name for name in others if others[name]])
        return _follow(recipe, model, calibration_data)
    acc_bits = 16 if acc_bits is None else acc_bits
    limits: dict[str, Any] = {}
    if method == "auto":
        limits = {name: method_options.pop(name, value) for name, value in auto.OPTIONS.items()}
        auto.check_arguments(**limits)
        method = "axe"
    method = methods.get(method, **method_options)
    defaults = LayerSettings(acc_bits, weight_bits, input_bits, tile, method)
    settings = functools.partial(resolve, defaults=defaults, exclude=exclude, overrides=overrides)
    plan = plan_for(model, settings, calibration_data, input_range, activation_range, scheme)
    return auto.search(plan, **limits) if limits else realize(plan)


def plan_for(
    model: keras.Model,
    resolved: Callable[[list[str]], dict[str, LayerSettings]],
    calibration_data: Any,
    input_range: Range | Mapping[str, Range] | None,
    activation_range: str,
    scheme: str,
) -> Plan:
    """Everything checked, measured and chosen; the arguments are those of `quantize`."""
    if scheme not in SCHEMES:
        raise ValueError(f"scheme: expected one of {SCHEMES}, received {scheme!r}")
    check_rule(activation_range, calibration_data is not None)
    power_of_two = scheme == "fixed_point"
    graph = expand(model)
    check(graph)
    if power_of_two:
        check_fixed_point(graph)
        graph = absorb_batch_norms(graph)
    compute = [node for node in graph.nodes if kind(node.layer) is Kind.COMPUTE]
    settings = resolved(list(dict.fromkeys(node.name for node in compute)))
    if any(getattr(layer.method, "equalize", False) for layer in settings.values()):
        graph = _equalized(graph, calibration_data)
        compute = [node for node in graph.nodes if kind(node.layer) is Kind.COMPUTE]
    groups = find(graph)
    widths.check(groups, settings)
    input_ranges = _input_ranges(graph, groups, input_range)
    post_training = any(
        layer.method.post_training and not layer.exclude for layer in settings.values()
    )
    if post_training and power_of_two:
        raise ValueError(
            "scheme: post-training methods choose free scales; expected 'free', or a method such "
            "as 'round' or 'a2q' with 'fixed_point'"
        )
    if post_training:
        calibration_data = RepeatableData(graph, calibration_data)
    measurements: list[Any] = (
        [None] * len(groups)
        if calibration_data is None
        else measure(graph, groups, calibration_data)
    )
    solved = (
        choose_input_bits(graph, groups, settings, measurements, calibration_data)
        if post_training
        else [None] * len(groups)
    )
    kernels = {node.name: _matrix(node.layer) for node in compute}
    chosen = [
        widths.choose(
            group,
            settings,
            kernels,
            measurement,
            input_ranges.get(id(group)),
            power_of_two,
            activation_range,
            bits,
        )
        for group, measurement, bits in zip(groups, measurements, solved, strict=True)
    ]
    data = calibration_data if post_training else None
    return Plan(graph, groups, chosen, settings, measurements, input_ranges, data, power_of_two)


def _follow(recipe: Recipe, model: keras.Model, calibration_data: Any) -> keras.Model:
    graph = expand(model)
    check(graph)
    power_of_two = recipe.scheme == "fixed_point"
    if power_of_two:
        check_fixed_point(graph)
        graph = absorb_batch_norms(graph)
    if any(layer.options.get("equalize") for layer in recipe.layers):
        graph = _equalized(graph, calibration_data)
    groups = find(graph)
    reuse.check(recipe, graph, groups)
    chosen = [reuse.group_widths(recipe, group) for group in groups]
    post_training = any(
        layer.method.post_training for group in chosen for layer in group.layers.values()
    )
    data = RepeatableData(graph, calibration_data) if post_training else None
    return realize(Plan(graph, groups, chosen, {}, [], {}, data, power_of_two))


def _equalized(graph: Graph, calibration_data: Any) -> Graph:
    return read(equalize(graph.model, RepeatableData(graph, calibration_data)))


def _matrix(layer: Any) -> NDArray[np.float64]:
    """A compute layer's kernel as [K, channels], K in file order (kh, kw, cin)."""
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    matrix: NDArray[np.float64] = to_matrix(layer, kernel)
    return matrix


def _input_ranges(
    graph: Graph, groups: list[Group], given: Range | Mapping[str, Range] | None
) -> dict[int, Range]:
    """The ranges of scale groups made of model inputs, by group id, after any Rescaling."""
    if given is None:
        return {}
    names = [node.name for node in graph.inputs]
    by_name = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names, given)
    unknown = sorted(set(by_name) - set(names))
    if unknown:
        raise ValueError(f"input_range: expected inputs of {names}, received {unknown}")
    checked = {name: _checked_range(name, pair) for name, pair in by_name.items()}
    producers = graph.producers()
    found: dict[int, Range] = {}
    for group in groups:
        ranges: list[Range | None] = []
        for node in group.sources:
            rescaled = kind(node.layer) is Kind.RESCALING
            origin = producers[node.inputs[0]] if rescaled else node
            pair = checked.get(origin.name) if origin in graph.inputs else None
            if pair is not None and rescaled:
                layer = node.layer
                pair = tuple(end * layer.scale + layer.offset for end in pair)
            ranges.append(pair)
        if all(pair is not None for pair in ranges):
            pairs = [pair for pair in ranges if pair is not None]
            found[id(group)] = (min(low for low, _ in pairs), max(high for _, high in pairs))
        elif any(pair is not None for pair in ranges):
            raise ValueError(
                f"input_range: an input is concatenated with other tensors ({group.name!r} and "
                "more), with which it shares one scale; use calibration_data alone"
            )
    return found


def _checked_range(name: str, pair: Any) -> Range:
    try:
        low, high = (float(end) for end in pair)
    except (TypeError, ValueError):
        raise TypeError(
            f"input_range: expected a pair (low, high) for {name!r}, received {pair!r}"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"input_range: expected finite low < high for {name!r}, received {pair!r}")
    return low, high
