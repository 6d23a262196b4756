"""Widths, weight scales and input ranges for the layers that read one scale group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_accq import fill, ranges
from keras_accq.bounds import Partition
from keras_accq.calibration import Measurement
from keras_accq.errors import BudgetError
from keras_accq.graph.groups import Group
from keras_accq.layers.kernels import channels, is_depthwise
from keras_accq.quantizers.max_scale import MaxScale
from keras_accq.quantizers.operands import Operands
from keras_accq.settings import LayerSettings

_INPUT_GRID = 4096

# What training is expected to leave of the weights' squared error (`fill.choose`): see
# docs/methods/widths.md. A model adapts to the errors of its hidden tensors too, but
# what is lost of its input is lost.
_KEPT = 0.1
_KEPT_READING_DATA = 0.03


@dataclass(frozen=True)
class LayerWidths:
    """What one compute layer becomes.

    Attributes:
        operands: Its widths.
        method: Its method object.
        scales: float64 [channels], the weight that the integer 1 stands for at the start. Their
            logarithms are float32 numbers, as layers keep them.
        widths_from: "given", "measured" or "assumed"; see `QuantizedWeights`.
    """

    operands: Operands
    method: Any
    scales: NDArray[np.float64]
    widths_from: str


@dataclass(frozen=True)
class GroupWidths:
    """What one scale group becomes.

    Attributes:
        bits: N of the layers that read it; 8 if none does.
        range: Real values (low, high) that the N-bit operand spans; None to observe in training.
        clip: See `ActivationQuantizer`; None unless observed.
        layers: By name, for all its readers.
        learn: Whether training learns the range, from the one given.
    """

    bits: int
    range: tuple[float, float] | None
    clip: float | None
    layers: dict[str, LayerWidths]
    learn: bool = False


def check(groups: list[Group], settings: Mapping[str, LayerSettings]) -> None:
    """Refuses settings that no choice of widths can meet, before anything is computed.

    Raises:
        BudgetError: An accumulator that holds no product, naming the layer and the least P.
        ValueError: Readers of one tensor that are given different input widths, or fewer than 8
            bits of a tensor whose scale is fixed.
    """
    for group in groups:
        products = {node.name: _products(node.layer) for node in group.readers}
        for name in _constrained(group, settings):
            layer = settings[name]
            bits = fill.MIN_BITS if layer.input_bits is None else layer.input_bits
            if group.fixed_range is not None:
                bits = fill.MAX_BITS
            try:
                operands = Operands(
                    layer.acc_bits, bits, layer.weight_bits or fill.MIN_BITS, layer.tile
                )
                layer.method.check(operands, products[name])
            except BudgetError as error:
                raise BudgetError(f"{name}: {error}") from None
        given = _input_bits(group, settings)
        if group.fixed_range is not None and given not in (None, fill.MAX_BITS):
            names = ", ".join(products)
            raise ValueError(
                f"input_bits: {names} reads {group.name!r}, whose scale TFLite prescribes for 8 "
                f"bits; received {given}, expected 8 for it (overrides), or a layer between"
            )


def choose(
    group: Group,
    settings: Mapping[str, LayerSettings],
    kernels: Mapping[str, NDArray[Any]],
    measurement: Measurement | None,
    input_range: tuple[float, float] | None,
    power_of_two: bool = False,
    activation_range: str = "mse",
    solved_bits: int | None = None,
) -> GroupWidths:
    """Everything that the settings leave open, by the fill rule.

    Args:
        group: A scale group.
        settings: By compute layer.
        kernels: float [K, channels] by compute layer.
        measurement: What the group's tensors hold; None without calibration data.
        input_range: For model inputs, what the group's tensors can hold; None if not known.
        power_of_two: Only scales that are powers of two.
        activation_range: One of `ranges.RULES`.
        solved_bits: N that a post-training method asks for where none is given; see
            `ptq.input_bits`.
    """
    layers = {
        node.name: excluded(kernels[node.name].shape[1], power_of_two)
        for node in group.readers
        if settings[node.name].exclude
    }
    constrained = _constrained(group, settings)
    if group.fixed_range is not None:
        input_range, solved_bits = group.fixed_range, fill.MAX_BITS
    if not constrained:
        return GroupWidths(8, _full_range(measurement, input_range), None, layers)
    input_bits = _input_bits(group, settings)
    depthwise = {node.name: is_depthwise(node.layer) for node in group.readers}
    trained = not any(settings[name].method.post_training for name in constrained)
    choice = fill.choose(
        [
            fill.LayerStats(
                name,
                kernels[name].T,
                settings[name].acc_bits,
                Partition.of_tile(settings[name].tile),
                _weight_bits(settings[name]),
                settings[name].method.rounding(depthwise[name]),
            )
            for name in constrained
        ],
        inputs=_inputs(group, measurement, input_range),
        input_bits=solved_bits if input_bits is None else input_bits,
        among=_ranges(measurement, input_range, activation_range, power_of_two),
        power_of_two=power_of_two,
        kept=(_KEPT_READING_DATA if group.is_data() else _KEPT) if trained else 1.0,
    )
    source = "assumed" if measurement is None else "measured"
    for chosen in choice.layers:
        wanted = settings[chosen.name]
        given = input_bits is not None and wanted.weight_bits is not None
        layers[chosen.name] = LayerWidths(
            Operands(
                wanted.acc_bits,
                choice.input_bits,
                chosen.weight_bits,
                wanted.tile,
                depthwise[chosen.name],
            ),
            wanted.method,
            storable_scales(chosen.scales),
            "given" if given else source,
        )
    few = choice.input_bits < 8
    full = _full_range(measurement, input_range)
    if full is None:
        clip = choice.input_range[1] if few and activation_range == "mse" else None
        return GroupWidths(choice.input_bits, None, clip, layers)
    # Whoever gives an input's range means all of it. With 8 bits the least squared error gains
    # nothing from clipping what calibration saw, and what it did not see is clipped less.
    clipped = input_range is None and (few or activation_range == "percentile")
    return GroupWidths(
        choice.input_bits,
        choice.input_range if clipped else full,
        None,
        layers,
        learn=trained and clipped and not power_of_two,
    )


def _weight_bits(layer: LayerSettings) -> int | None:
    """M for the fill rule; None to choose it."""
    if layer.weight_bits is None and layer.method.post_training:
        # The search for scales does not need the limit: what fits the accumulator may use it all.
        return fill.MAX_BITS
    return layer.weight_bits


def _ranges(
    measurement: Measurement | None,
    input_range: ranges.Range | None,
    rule: str,
    power_of_two: bool,
) -> Sequence[ranges.Range] | None:
    """What the fill rule may choose the input's range from; None for its own choice."""
    if rule == "mse" or measurement is None:
        return None
    full = _full_range(measurement, input_range)
    assert full is not None
    if input_range is not None:
        rule = "minmax"
    return ranges.candidates(rule, measurement.samples, full, power_of_two)


def excluded(channels: int, power_of_two: bool) -> LayerWidths:
    """What a layer of so many output channels becomes that is excluded from the constraint."""
    return LayerWidths(Operands(None, 8, 8), MaxScale(power_of_two), np.ones(channels), "given")


def storable_scales(scales: NDArray[Any]) -> NDArray[np.float64]:
    """The nearest scales whose logarithms are float32: what a layer makes of them is the same."""
    stored: NDArray[np.float64] = np.exp2(np.log2(scales).astype(np.float32).astype(np.float64))
    return stored


def _products(layer: Any) -> int:
    """How many products each of a float layer's outputs sums."""
    return int(np.prod(layer.kernel.shape)) // channels(layer)


def _constrained(group: Group, settings: Mapping[str, LayerSettings]) -> list[str]:
    return [node.name for node in group.readers if not settings[node.name].exclude]


def _input_bits(group: Group, settings: Mapping[str, LayerSettings]) -> int | None:
    """N that the readers are given, or None."""
    given = {
        name: settings[name].input_bits
        for name in _constrained(group, settings)
        if settings[name].input_bits is not None
    }
    if len(set(given.values())) > 1:
        raise ValueError(
            f"input_bits: all layers that read tensor {group.name!r} share one width, received "
            f"{given}; give them the same"
        )
    return next(iter(given.values()), None)


def _full_range(
    measurement: Measurement | None, input_range: tuple[float, float] | None
) -> tuple[float, float] | None:
    if input_range is not None:
        return input_range
    return None if measurement is None else (measurement.low, measurement.high)


def _inputs(
    group: Group, measurement: Measurement | None, input_range: tuple[float, float] | None
) -> Any:
    if measurement is not None:
        return measurement.samples
    if input_range is not None:
        return np.linspace(*input_range, _INPUT_GRID)
    return "half_normal" if group.never_negative() else "normal"
