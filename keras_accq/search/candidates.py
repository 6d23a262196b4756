"""The pairs of widths that fill a layer's accumulator, for all layers that read one tensor.

For each width N of the data the weights get the finest scale, per output channel, at which their
nearest integers still fit: the widest weights whose exact test holds. Nothing coarser is tried, and
no N for which a wider N has the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_accq import fill
from keras_accq.bounds import (
    MAX_ACC_BITS,
    Partition,
    fits,
    least_acc_bits,
    operand_range,
    type_bound_bits,
)
from keras_accq.calibration import Measurement
from keras_accq.errors import BudgetError
from keras_accq.graph.groups import Group
from keras_accq.recipe import LayerRecipe, TensorRecipe
from keras_accq.reuse import shortest
from keras_accq.widths import storable_scales

FloatArray = NDArray[np.float64]

BOUNDS = ("exact", "type")
_LARGEST = operand_range(fill.MAX_BITS)[1]
# Halvings of the interval of scales, in octaves: to a relative width of 1e-7.
_STEPS = 28


@dataclass(frozen=True)
class Settings:
    """What all layers of a search have in common.

    Attributes:
        acc_bits: P.
        scheme: "fixed_point" or "free".
        bound: "exact", the weights that there are; "type", any weights of M bits.
        tile: Weights that share an accumulator; None for all.
    """

    acc_bits: int
    scheme: str
    bound: str
    tile: int | None

    @property
    def partition(self) -> Partition:
        return Partition.of_tile(self.tile)

    @property
    def power_of_two(self) -> bool:
        return self.scheme == "fixed_point"


@dataclass(frozen=True)
class Candidate:
    """One choice of widths for a scale group.

    Attributes:
        tensor: The group's grid; N is its `bits`.
        layers: All layers that read it.
    """

    tensor: TensorRecipe
    layers: tuple[LayerRecipe, ...]

    @property
    def bits(self) -> int:
        return self.tensor.bits


def candidates(
    group: Group,
    layers: Mapping[str, LayerRecipe],
    kernels: Mapping[str, FloatArray],
    measurement: Measurement,
    settings: Settings,
) -> list[Candidate]:
    """What a scale group and the layers that read it may become, widest data first.

    Args:
        group: The group.
        layers: What is known of its readers: names, shapes, and whether they are excluded.
        kernels: float64 [K, channels] of each.
        measurement: What the group's tensors hold.
        settings: Of the search.

    Raises:
        BudgetError: No widths fit, naming the layer and the least P that would do.
    """
    readers = [layers[node.name] for node in group.readers]
    constrained = [layer for layer in readers if not layer.excluded]
    excluded = [layer for layer in readers if layer.excluded]
    if not constrained:
        tensor = _tensor(group, fill.MAX_BITS, measurement, settings)
        return [Candidate(tensor, tuple(excluded))]
    found: list[Candidate] = []
    fewest = fill.MIN_BITS if group.fixed_range is None else fill.MAX_BITS
    for bits in range(fill.MAX_BITS, fewest - 1, -1):
        filled = [_filled(layer, kernels[layer.name].T, bits, settings) for layer in constrained]
        fitting = [layer for layer in filled if layer is not None]
        if len(fitting) == len(filled) and not any(_as_fine(fitting, wider) for wider in found):
            tensor = _tensor(group, bits, measurement, settings)
            found.append(Candidate(tensor, (*fitting, *excluded)))
    if not found:
        needs = {
            layer.name: _least_acc_bits(kernels[layer.name].T, settings) for layer in constrained
        }
        name = max(needs, key=lambda layer: needs[layer])
        raise BudgetError(
            f"{name}: no widths of data and weights fit {settings.acc_bits} accumulator bits "
            f"(scheme {settings.scheme!r}, bound {settings.bound!r}, {settings.partition}); "
            + (
                f"expected acc_bits >= {needs[name]}"
                if needs[name] <= MAX_ACC_BITS
                else f"not even {MAX_ACC_BITS} would do"
            )
            + ", a smaller tile, or the layer in exclude"
        )
    return found


def _tensor(group: Group, bits: int, measurement: Measurement, settings: Settings) -> TensorRecipe:
    """The grid of N bits with the least squared error; of 8 free bits, the one of all values."""
    name = group.name
    if group.fixed_range is not None:
        return TensorRecipe(name, bits, *group.fixed_range)
    if bits == fill.MAX_BITS and not settings.power_of_two:
        return TensorRecipe(name, bits, min(measurement.low, 0.0), max(measurement.high, 0.0))
    error = fill.input_error(measurement.samples.astype(np.float64), bits, settings.power_of_two)
    return TensorRecipe(name, bits, error.low, error.high)


def _as_fine(layers: Sequence[LayerRecipe], wider: Candidate) -> bool:
    """Whether wider data leave the weights of all layers as fine."""
    by_name = {layer.name: layer for layer in wider.layers}
    return all(
        layer.weight_bits <= by_name[layer.name].weight_bits
        and (_log2_scales(by_name[layer.name]) <= _log2_scales(layer)).all()
        for layer in layers
    )


def _log2_scales(layer: LayerRecipe) -> FloatArray:
    assert layer.log2_scales is not None
    return np.array(layer.log2_scales)


def _filled(
    layer: LayerRecipe, weights: FloatArray, bits: int, settings: Settings
) -> LayerRecipe | None:
    """The layer with the widest weights for N-bit data; None if none fit."""
    if settings.bound == "type":
        filled = _by_type(weights, bits, settings)
    else:
        filled = _by_weights(weights, bits, settings)
    if filled is None:
        return None
    weight_bits, scales = filled
    return replace(
        layer,
        input_bits=bits,
        weight_bits=weight_bits,
        log2_scales=shortest(np.log2(scales)),
    )


def _by_weights(
    weights: FloatArray, bits: int, settings: Settings
) -> tuple[int, FloatArray] | None:
    """M and the finest scales at which the nearest integers pass the exact test."""
    ends = operand_range(bits)

    def fit(scales: FloatArray) -> NDArray[np.bool_]:
        q = _nearest(weights, scales)
        inside: NDArray[np.bool_] = fits(q, *ends, settings.acc_bits, settings.partition)
        return inside

    scales = (_finest_power_of_two if settings.power_of_two else _finest)(weights, fit)
    if scales is None:
        return None
    largest = int(np.abs(_nearest(weights, scales)).max())
    return max(fill.MIN_BITS, largest.bit_length() + 1), scales


def _nearest(weights: FloatArray, scales: FloatArray) -> NDArray[np.int64]:
    units = np.clip(np.rint(weights / scales[:, None]), -_LARGEST, _LARGEST)
    return units.astype(np.int64)


def _magnitudes(weights: FloatArray) -> FloatArray:
    """Each channel's largest |w|; for a channel of zeros the layer's."""
    largest = np.abs(weights).max(axis=1)
    return np.where(largest > 0, largest, largest.max() or 1.0)


def _finest_power_of_two(weights: FloatArray, fit: Any) -> FloatArray | None:
    # From 8 bits, B - 1 = 7 of them below 2^IL, to 1: its one integer is the largest weight.
    integer_bits = np.ceil(np.log2(_magnitudes(weights)))
    scales = np.exp2(integer_bits)
    if not fit(scales).all():
        return None
    for fraction in range(1, fill.MAX_BITS):
        finer = np.exp2(integer_bits - fraction)
        # Not beyond a width that does not fit: only the widest of those that do is meant.
        finer = np.where(scales == 2 * finer, finer, scales)
        scales = np.where(fit(finer), finer, scales)
    return scales


def _finest(weights: FloatArray, fit: Any) -> FloatArray | None:
    largest = _magnitudes(weights)
    # At twice the largest weight (less a hair, as halves are rounded to even) it alone remains.
    finest, coarsest = np.log2(largest / _LARGEST), np.log2(largest * 1.999)
    if not fit(storable_scales(np.exp2(coarsest))).all():
        return None
    coarsest = np.where(fit(storable_scales(np.exp2(finest))), finest, coarsest)
    for _ in range(_STEPS):
        middle = (finest + coarsest) / 2
        inside = fit(storable_scales(np.exp2(middle)))
        coarsest, finest = np.where(inside, middle, coarsest), np.where(inside, finest, middle)
    return storable_scales(np.exp2(coarsest))


def _by_type(weights: FloatArray, bits: int, settings: Settings) -> tuple[int, FloatArray] | None:
    """M for which any weights fit, and the scales that use it up."""
    length = _longest_cell(weights, settings)
    allowed = [
        weight_bits
        for weight_bits in range(fill.MIN_BITS, fill.MAX_BITS + 1)
        if type_bound_bits(length, bits, weight_bits, True) <= settings.acc_bits
    ]
    if not allowed:
        return None
    weight_bits = allowed[-1]
    if settings.power_of_two:
        integer_bits = np.ceil(np.log2(_magnitudes(weights)))
        return weight_bits, np.exp2(integer_bits - (weight_bits - 1))
    return weight_bits, storable_scales(_magnitudes(weights) / operand_range(weight_bits)[1])


def _longest_cell(weights: FloatArray, settings: Settings) -> int:
    return int(np.bincount(settings.partition.cells(weights.shape[1])).max())


def _least_acc_bits(weights: FloatArray, settings: Settings) -> int:
    """The narrowest accumulator that some widths would fit: those with the fewest bits."""
    if settings.bound == "type":
        return type_bound_bits(_longest_cell(weights, settings), fill.MIN_BITS, fill.MIN_BITS, True)
    largest = _magnitudes(weights)
    scales = (
        np.exp2(np.ceil(np.log2(largest)))
        if settings.power_of_two
        else storable_scales(largest * 1.999)
    )
    q = _nearest(weights, scales)
    return int(least_acc_bits(q, *operand_range(fill.MIN_BITS), settings.partition).max())
