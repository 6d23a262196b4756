"""The fill rule: bit widths and weight scales that make the most of an accumulator.

De Bruin, Živković and Corporaal (2020) pose quantization as a function of the accumulator's width
and take the widest operands that fit it. Here the same principle is applied before training: for
all layers that read one tensor, over the input's width N and each layer's weight width M, and over
a set of weight scales per channel, the combination with the least estimated output error. Each
candidate is quantized by the method that the layer will use (`quantizers/rounding.py`; A2Q's
projects on the L1 ball that the accumulator leaves and rounds toward zero), so that every candidate
fits by construction, and its weight error and the input's rounding error are weighed together.
Needs NumPy only.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_accq import ranges
from keras_accq.bounds import ALL, Partition, check_acc_bits, operand_range
from keras_accq.errors import BudgetError
from keras_accq.quantizers.grids import grid
from keras_accq.quantizers.rounding import Cells, Rounding, Truncated

FloatArray = NDArray[np.float64]
Distribution = Literal["half_normal", "normal", "uniform"]

MIN_BITS, MAX_BITS = 2, 8
ZEROS_TO_WARN_OF = 0.9

# The largest |q| that a candidate scale gives a channel's largest weight, as multiples of the
# largest that M bits hold: below 1 leaves levels unused (the budget would not pay for them), above
# 1 clips the largest weights.
_LEVELS = np.geomspace(0.125, 2.0, 13)
_MAX_WEIGHTS = 1 << 15
_MIN_CHANNELS = 4
_MAX_INPUTS = 1 << 12
# Errors closer than this are taken as equal, and the fewer bits win.
_TIE = 1.01


@dataclass(frozen=True)
class LayerStats:
    """One layer that reads the tensor whose width is chosen.

    Attributes:
        name: For messages.
        weights: float [channels, K], K in file order (kh, kw, cin).
        acc_bits: P, 2..32.
        partition: The cells that each have an accumulator.
        weight_bits: M, fixed by the user, 2..8; None to choose it.
        rounding: How the layer's method makes integers of weights.
    """

    name: str
    weights: FloatArray
    acc_bits: int
    partition: Partition = ALL
    weight_bits: int | None = None
    rounding: Rounding = Truncated()  # noqa: RUF009 - frozen

    def check(self, input_bits: int, weight_bits: int) -> None:
        """Refuses widths that leave the accumulator nothing but zeros.

        Raises:
            BudgetError: Naming the layer and the least P.
        """
        length = int(Cells(self.partition, np.shape(self.weights)[1]).lengths.max())
        try:
            self.rounding.check(self.acc_bits, input_bits, weight_bits, length)
        except BudgetError as error:
            raise BudgetError(f"{self.name}: {error}") from None

    def allows(self, input_bits: int, weight_bits: int) -> bool:
        """Whether `check` passes."""
        try:
            self.check(input_bits, weight_bits)
        except BudgetError:
            return False
        return True


@dataclass(frozen=True)
class LayerChoice:
    """What the fill rule chose for one layer.

    Attributes:
        name: The layer's.
        weight_bits: M.
        scales: float64 [channels], positive: the weight that the integer 1 stands for.
        error: Estimated relative output error (root of error energy by signal energy, mean over
            channels) of the layer with quantized weights and inputs.
        zeros: Fraction of all weights that start as the integer 0.
    """

    name: str
    weight_bits: int
    scales: FloatArray = field(repr=False)
    error: float
    zeros: float


@dataclass(frozen=True)
class Choice:
    """What the fill rule chose for a tensor and all layers that read it.

    Attributes:
        input_bits: N.
        input_range: The real values (low, high) of the smallest and largest N-bit input, in the
            unit of the inputs given; for an assumed distribution, of its standard deviation (of
            its upper end for "uniform").
        layers: In the order given.
        assumed: The inputs were not measured.
    """

    input_bits: int
    input_range: tuple[float, float]
    layers: tuple[LayerChoice, ...]
    assumed: bool


@dataclass(frozen=True)
class _InputError:
    """Moments of an input x and its rounding error e: E[x²], E[e²], E[x·e], Var[e]/Var[x]."""

    signal: float
    noise: float
    cross: float
    relative_variance: float
    low: float
    high: float


def choose(
    layers: Sequence[LayerStats],
    *,
    inputs: ArrayLike | Distribution = "half_normal",
    input_bits: int | None = None,
    among: Sequence[ranges.Range] | None = None,
    power_of_two: bool = False,
    kept: float = 1.0,
) -> Choice:
    """Widths and scales for all layers that read one tensor.

    Args:
        layers: At least one.
        inputs: Values that the tensor took, of any shape, or the name of a distribution to assume:
            "half_normal" after a ReLU, "normal", or "uniform" on [0, 1] for images.
        input_bits: N, fixed by the user, 2..8; None to choose it.
        among: Ranges of the input's grid to choose from by the squared error; None for "mse".
        power_of_two: Only scales that are powers of two, of inputs and weights.
        kept: How much of the weights' squared error is expected to be left in the end: 1 without
            training; less with it, as training moves weights to where their rounding matters
            little, while the inputs' rounding errors stay. Below 1 the inputs' errors are taken
            about their mean, which biases learn.

    Returns:
        The choice with the least mean squared relative error over the layers. Of choices within
        1 % of it, the one with the fewest bits.

    Raises:
        BudgetError: Some layer's accumulator holds no product of such an input with the weight 1.
        TypeError: Widths that are no integers.
        ValueError: No layers, weights that are not a finite matrix, widths outside 2..8, empty or
            not finite inputs, or an unknown distribution.
    """
    _check(layers)
    samples, assumed = _samples(inputs)
    candidates = _candidate_bits(layers, input_bits)
    problems = [_Problem(layer, power_of_two, subsample=True) for layer in layers]
    scored = []
    for bits in candidates:
        error = input_error(samples, bits, power_of_two, among)
        widths = [problem.best_weight_bits(bits, error) for problem in problems]
        expected = [
            problem.expected_error(weight_bits, bits, error, kept)
            for problem, weight_bits in zip(problems, widths, strict=True)
        ]
        scored.append((float(np.mean(expected)), bits, widths, error))
    least = min(entry[0] for entry in scored)
    _, bits, widths, error = next(entry for entry in scored if entry[0] <= _TIE * least)
    choices = tuple(
        _Problem(layer, power_of_two, subsample=False).settle(weight_bits, bits, error)
        for layer, weight_bits in zip(layers, widths, strict=True)
    )
    _warn_of_zeros(layers, choices, bits)
    return Choice(bits, (error.low, error.high), choices, assumed)


def input_error(
    samples: FloatArray,
    bits: int,
    power_of_two: bool = False,
    among: Sequence[ranges.Range] | None = None,
) -> _InputError:
    """The moments of the rounding error of N-bit inputs, with the best of some ranges.

    Args:
        samples: float64, flat.
        bits: N.
        power_of_two: Of fixed-point grids.
        among: The ranges, the widest last; None for those of "mse".
    """
    smallest, largest = operand_range(bits)
    if among is None:
        widest = float(samples.min()), float(samples.max())
        among = ranges.candidates("mse", samples, widest, power_of_two)
    best: _InputError | None = None
    for low, high in among:
        scale, zero_point = grid(low, high, bits, power_of_two)
        ends = smallest - float(zero_point), largest - float(zero_point)
        noise = np.clip(np.rint(samples / scale), *ends) * scale - samples
        error = _InputError(
            float(np.mean(samples**2)),
            float(np.mean(noise**2)),
            float(np.mean(samples * noise)),
            float(np.var(noise) / (np.var(samples) or 1.0)),
            float(ends[0] * scale),
            float(ends[1] * scale),
        )
        if best is None or error.noise <= best.noise:
            best = error
    assert best is not None
    return best


class _Problem:
    """One layer's weights, cut into the partition's cells, ready to be quantized many ways."""

    def __init__(self, layer: LayerStats, power_of_two: bool, *, subsample: bool) -> None:
        self._layer = layer
        self._power_of_two = power_of_two
        weights = np.asarray(layer.weights, np.float64)
        if subsample:
            weights = weights[_spread(weights)]
        self._weights = weights
        largest = np.abs(weights).max(axis=1)
        # A channel of zeros has no scale of its own; the layer's keeps its bias well resolved.
        self._largest = np.where(largest > 0, largest, largest.max() or 1.0)
        self._cells = Cells(layer.partition, weights.shape[1])
        self._prepared = layer.rounding.prepare(
            self._cells.rows(weights), np.tile(self._cells.lengths, len(weights))
        )

    def best_weight_bits(self, input_bits: int, error: _InputError) -> int:
        """The weight width with the least mean squared relative error."""
        errors = {
            bits: float(self._best_levels(bits, input_bits, error)[1].mean())
            for bits in _weight_widths(self._layer)
            if self._layer.allows(input_bits, bits)
        }
        least = min(errors.values())
        return next(bits for bits, e in errors.items() if e <= _TIE * least)

    def expected_error(
        self, weight_bits: int, input_bits: int, error: _InputError, kept: float
    ) -> float:
        """The mean squared relative error in the end: see `choose`."""
        levels, errors = self._best_levels(weight_bits, input_bits, error)
        if kept == 1:
            return float(errors.mean())
        exact = replace(error, noise=0.0, cross=0.0)
        of_weights = self._errors(levels, weight_bits, input_bits, exact)
        return kept * float(of_weights.mean()) + error.relative_variance

    def settle(self, weight_bits: int, input_bits: int, error: _InputError) -> LayerChoice:
        levels, errors = self._best_levels(weight_bits, input_bits, error)
        zeros = np.mean(self._quantize(levels, weight_bits, input_bits) == 0)
        return LayerChoice(
            self._layer.name,
            weight_bits,
            self._scales(levels),
            float(np.sqrt(errors.mean())),
            float(zeros),
        )

    def _best_levels(
        self, weight_bits: int, input_bits: int, error: _InputError
    ) -> tuple[FloatArray, FloatArray]:
        """Per channel, the integer that the largest weight becomes, and the squared error."""
        channels = len(self._weights)
        best = np.ones(channels)
        least = np.full(channels, np.inf)
        for level in self._candidate_levels(weight_bits, input_bits):
            levels = np.full(channels, level)
            if self._power_of_two:
                levels = self._largest / np.exp2(np.rint(np.log2(self._largest / level)))
            errors = self._errors(levels, weight_bits, input_bits, error)
            better = errors < least
            best[better], least[better] = levels[better], errors[better]
        return best, least

    def _candidate_levels(self, weight_bits: int, input_bits: int) -> FloatArray:
        largest = operand_range(weight_bits)[1]
        levels = np.maximum(_LEVELS * largest, 1.0)
        if self._layer.weight_bits is not None:
            # A width fixed by the user may be far more than the budget pays for.
            levels = np.concatenate([np.geomspace(1.0, largest, 9), levels])
        return np.unique(levels)

    def _scales(self, levels: FloatArray) -> FloatArray:
        scales = self._largest / levels
        return np.exp2(np.rint(np.log2(scales))) if self._power_of_two else scales

    def _quantize(self, levels: FloatArray, weight_bits: int, input_bits: int) -> FloatArray:
        """q, float64 [channels, K]: integers that fit, by the layer's rounding."""
        scales = self._cells.per_row(self._scales(levels))
        rows = self._prepared.integers(scales, self._layer.acc_bits, input_bits, weight_bits)
        return self._cells.weights(rows)

    def _errors(
        self, levels: FloatArray, weight_bits: int, input_bits: int, error: _InputError
    ) -> FloatArray:
        """Squared relative output error per channel, for independent inputs.

        With Δ = ŵ - w, the output's error is Σ Δx + ŵe, of energy
        ‖Δ‖²E[x²] + ‖ŵ‖²E[e²] + 2Δ·ŵ E[xe], by the signal's ‖w‖²E[x²].
        """
        quantized = self._quantize(levels, weight_bits, input_bits)
        quantized *= self._scales(levels)[:, None]
        energy = (self._weights**2).sum(axis=1)
        square = (quantized**2).sum(axis=1)
        product = (quantized * self._weights).sum(axis=1)
        total = (
            (square - 2 * product + energy) * error.signal
            + square * error.noise
            + 2 * (square - product) * error.cross
        )
        signal = energy * error.signal
        relative = np.divide(total, signal, out=np.zeros_like(total), where=signal > 0)
        return np.maximum(relative, 0.0)


def _check(layers: Sequence[LayerStats]) -> None:
    if not layers:
        raise ValueError("layers: expected at least one, received none")
    for layer in layers:
        weights = np.asarray(layer.weights)
        if weights.ndim != 2 or 0 in weights.shape:
            raise ValueError(
                f"{layer.name}: expected weights of shape [channels, K], received {weights.shape}"
            )
        if not np.isfinite(weights).all():
            raise ValueError(f"{layer.name}: expected finite weights, received NaN or infinity")
        check_acc_bits(layer.acc_bits)
        if layer.weight_bits is not None:
            operand_range(layer.weight_bits)


def _samples(inputs: ArrayLike | Distribution) -> tuple[FloatArray, bool]:
    if isinstance(inputs, str):
        grid = (np.arange(_MAX_INPUTS) + 0.5) / _MAX_INPUTS
        if inputs == "uniform":
            return grid, True
        if inputs not in ("half_normal", "normal"):
            raise ValueError(
                "inputs: expected an array, 'half_normal', 'normal' or 'uniform', "
                f"received {inputs!r}"
            )
        quantile = NormalDist().inv_cdf
        ends = (1 + grid) / 2 if inputs == "half_normal" else grid
        return np.array([quantile(float(p)) for p in ends]), True
    samples = np.asarray(inputs, np.float64).reshape(-1)
    if samples.size == 0 or not np.isfinite(samples).all():
        raise ValueError("inputs: expected finite values, received none, NaN or infinity")
    if samples.size > _MAX_INPUTS:
        # Random, not strided: a stride can be in step with rows or channels.
        samples = np.random.default_rng(0).choice(samples, _MAX_INPUTS, replace=False)
    return samples, False


def _weight_widths(layer: LayerStats) -> Sequence[int]:
    fixed = layer.weight_bits
    return range(MIN_BITS, MAX_BITS + 1) if fixed is None else (fixed,)


def _candidate_bits(layers: Iterable[LayerStats], input_bits: int | None) -> list[int]:
    """The input widths that leave every layer's accumulator something, with some weight width."""
    if input_bits is not None:
        operand_range(input_bits)
    least = MIN_BITS if input_bits is None else input_bits
    for layer in layers:
        # The fewest bits are those that fit first.
        layer.check(least, _weight_widths(layer)[0])
    if input_bits is not None:
        return [input_bits]
    return [
        bits
        for bits in range(MIN_BITS, MAX_BITS + 1)
        if all(layer.allows(bits, _weight_widths(layer)[0]) for layer in layers)
    ]


def _spread(weights: FloatArray) -> NDArray[np.int64]:
    """Evenly spaced channels, few enough for the search to be quick."""
    channels, k = weights.shape
    count = min(channels, max(_MIN_CHANNELS, _MAX_WEIGHTS // k))
    return np.linspace(0, channels - 1, count).astype(np.int64)


def _warn_of_zeros(
    layers: Sequence[LayerStats], choices: Sequence[LayerChoice], input_bits: int
) -> None:
    sparse = [
        f"{layer.name} starts with {choice.zeros:.1%} zeros (N={input_bits}, "
        f"M={choice.weight_bits}, K={np.shape(layer.weights)[1]}, "
        f"budget {int(layer.rounding.radius(layer.acc_bits, input_bits))} at P={layer.acc_bits})"
        for layer, choice in zip(layers, choices, strict=True)
        if choice.zeros > ZEROS_TO_WARN_OF
    ]
    if sparse:
        warnings.warn(
            "Most weights do not fit: " + "; ".join(sparse) + ". Raise acc_bits, set a tile, or "
            "lower input_bits.",
            stacklevel=3,
        )
