"""Method "auto": AXE, and what a time limit allows to be tried besides.

Layer by layer the best integers for given widths and ranges are found by AXE; which widths and
ranges are best shows only at the model's output. Here they are changed one tensor at a time, and
only the layers that read the tensor are solved anew, which takes seconds where a model takes
minutes. A change is kept if the outputs on the calibration data come nearer to the float model's;
whole models are judged by the caller's metric. This search is this package's own; its parts are
AXE's (arXiv 2409.17092) and the principle of de Bruin et al. (2020), to fill an accumulator.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_accq.calibration import Measurement
from keras_accq.errors import BudgetError
from keras_accq.fill import MAX_BITS, MIN_BITS, input_error
from keras_accq.graph.build import build
from keras_accq.layers import QuantizedWeights
from keras_accq.plan import Plan, realize
from keras_accq.ptq.axe import post_train
from keras_accq.ptq.batchnorm import reestimate_batchnorm
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.divergence import Divergence
from keras_accq.widths import GroupWidths, LayerWidths

_LOG = logging.getLogger("keras_accq")

# A change must bring the outputs this much nearer: less is chance, of the calibration data.
_GAIN = 0.995
_RANGE_STEP = 1.2


# The options of the method "auto", besides those of "axe", and their defaults.
OPTIONS: dict[str, Any] = {"evaluate": None, "time_limit": 600.0}


def search(
    plan: Plan,
    evaluate: Callable[[keras.Model], float],
    time_limit: float,
    clock: Callable[[], float] = time.monotonic,
) -> keras.Model:
    """The best quantized model, by the caller's metric, that a time limit allows to be found.

    In this order, always the same: plain AXE with the plan's widths; AXE with 8-bit weights where
    none were asked for, as its scale search does the rest; then, in sweeps over all tensors until
    one changes nothing, input widths one bit wider and narrower, and ranges wider and narrower by
    a factor of 1.2. After each sweep all layers are solved anew. BatchNormalization is tried as it
    is and re-estimated. Plain AXE is the first candidate, so nothing worse than it is returned.

    Args:
        plan: Of a model with layers whose method is AXE.
        evaluate: Called with a quantized model (not compiled); the more the better.
        time_limit: Seconds. Nothing new is begun after them; plain AXE is always finished.
        clock: Seconds, rising.

    Raises:
        TypeError, ValueError: See `check_arguments`; or a metric that is not a finite number.
    """
    check_arguments(evaluate, time_limit)
    if plan.data is None:
        raise ValueError("overrides: no layer is left to method 'auto'")
    return _Search(plan, evaluate, clock, clock() + time_limit).run()


def check_arguments(evaluate: Any, time_limit: Any) -> None:
    """Refuses what "auto" can not work with, before anything is computed.

    Raises:
        TypeError: `evaluate` can not be called, or `time_limit` is no number.
        ValueError: A limit that is not positive and finite.
    """
    if not callable(evaluate):
        raise TypeError(
            "evaluate: method 'auto' needs a function from a model to a number (the more the "
            f"better), received {evaluate!r}"
        )
    if isinstance(time_limit, bool) or not isinstance(time_limit, (int, float)):
        raise TypeError(f"time_limit: expected seconds, received {time_limit!r}")
    if not (time_limit > 0 and math.isfinite(time_limit)):
        raise ValueError(f"time_limit: expected positive seconds, received {time_limit!r}")


@dataclass(frozen=True)
class _State:
    """Widths, a model made with them, and how far its outputs are from the float model's."""

    widths: list[GroupWidths]
    model: keras.Model
    distance: float


class _Search:
    def __init__(
        self,
        plan: Plan,
        evaluate: Callable[[keras.Model], float],
        clock: Callable[[], float],
        deadline: float,
    ) -> None:
        assert plan.data is not None
        self._plan = plan
        self._data: RepeatableData = plan.data
        self._evaluate = evaluate
        self._clock = clock
        self._deadline = deadline
        self._divergence = Divergence(plan.graph, plan.data)
        self._best: keras.Model | None = None
        self._metric = -math.inf

    def run(self) -> keras.Model:
        state = self._solved(self._plan.widths)
        self._judge(state, "plain AXE")
        wide = _with_wide_weights(self._plan)
        if wide is not None and self._time_left():
            other = self._solved(wide)
            self._judge(other, "8-bit weights")
            state = min(state, other, key=lambda s: s.distance)
        while self._time_left():
            swept = self._sweep(state)
            if swept is state:
                break
            self._judge(swept, "after a sweep")
            if not self._time_left():
                break
            state = self._solved(swept.widths)
            self._judge(state, "solved anew")
            state = min(state, swept, key=lambda s: s.distance)
        assert self._best is not None
        return self._best

    def _time_left(self) -> bool:
        return self._clock() < self._deadline

    def _solved(self, widths: list[GroupWidths]) -> _State:
        """The model with these widths, all layers solved."""
        model = realize(replace(self._plan, widths=widths))
        return _State(widths, model, self._divergence.of(model))

    def _judge(self, state: _State, what: str) -> None:
        """Keeps the model if it is the best, as it is or with its statistics re-estimated."""
        self._compare(state, what)
        norms = [x for x in state.model.layers if isinstance(x, keras.layers.BatchNormalization)]
        if norms and self._time_left() and not self._plan.asked("reestimate_batchnorm"):
            copy = self._built(state.widths)
            copy.set_weights(state.model.get_weights())
            reestimate_batchnorm(copy, self._data, self._plan.graph.model)
            other = _State(state.widths, copy, self._divergence.of(copy))
            self._compare(other, f"{what}, BatchNormalization re-estimated")

    def _compare(self, state: _State, what: str) -> None:
        metric = self._evaluate(state.model)
        if isinstance(metric, bool) or not isinstance(metric, (int, float, np.number)):
            raise TypeError(f"evaluate: expected a number, received {metric!r}")
        if not math.isfinite(metric):
            raise ValueError(f"evaluate: expected a finite number, received {metric!r}")
        _LOG.info("auto: %s: metric %.6g, distance %.4g", what, metric, state.distance)
        if metric > self._metric:
            self._best, self._metric = state.model, float(metric)

    def _sweep(self, state: _State) -> _State:
        """All changes of one tensor at a time, each repeated for as long as it helps."""
        for index, group in enumerate(self._plan.groups):
            for name, change in self._changes(index):
                while self._time_left():
                    changed = change(state.widths[index])
                    moved = None if changed is None else self._moved(state, index, changed)
                    if moved is None or moved.distance >= _GAIN * state.distance:
                        break
                    _LOG.info("auto: %s: %s: distance %.4g", group.name, name, moved.distance)
                    state = moved
        return state

    def _changes(self, index: int) -> list[tuple[str, Callable[[GroupWidths], GroupWidths | None]]]:
        """What can be tried on a scale group."""
        group, settings = self._plan.groups[index], self._plan.settings
        measurement = self._plan.measurements[index]
        readers = [settings[node.name] for node in group.readers if not settings[node.name].exclude]
        if not readers or measurement is None or group.fixed_range is not None:
            return []
        fixed = id(group) in self._plan.input_ranges
        found: list[tuple[str, Callable[[GroupWidths], GroupWidths | None]]] = []
        if all(layer.input_bits is None for layer in readers):
            found += [
                ("one bit more", lambda w: _with_bits(w, w.bits + 1, measurement, fixed)),
                ("one bit less", lambda w: _with_bits(w, w.bits - 1, measurement, fixed)),
            ]
        if not fixed:
            found += [
                ("a wider range", lambda w: _with_range(w, _RANGE_STEP, measurement)),
                ("a narrower range", lambda w: _with_range(w, 1 / _RANGE_STEP, measurement)),
            ]
        return found

    def _moved(self, state: _State, index: int, changed: GroupWidths) -> _State:
        """The state with one group changed, and only the layers that read it solved anew."""
        widths = [*state.widths[:index], changed, *state.widths[index + 1 :]]
        model = self._built(widths)
        names = {node.name for node in self._plan.groups[index].readers}
        solved = set(names)
        consumers = self._plan.graph.consumers()
        for node in self._plan.groups[index].readers:
            solved.update(reader.name for reader in consumers[node.output])
        for layer in model.layers:
            kept = isinstance(layer, (QuantizedWeights, keras.layers.BatchNormalization))
            if kept and layer.name not in solved:
                layer.set_weights(state.model.get_layer(layer.name).get_weights())
        post_train(self._plan.graph, model, self._data, names)
        return _State(widths, model, self._divergence.of(model))

    def _built(self, widths: list[GroupWidths]) -> keras.Model:
        return build(self._plan.graph, self._plan.groups, widths, self._plan.power_of_two)


def _with_wide_weights(plan: Plan) -> list[GroupWidths] | None:
    """The plan's widths with the most weight bits wherever none were asked for; None if it has."""

    def wide(name: str, layer: LayerWidths) -> LayerWidths:
        if plan.settings[name].exclude or plan.settings[name].weight_bits is not None:
            return layer
        return replace(layer, operands=replace(layer.operands, weight_bits=MAX_BITS))

    widths = [
        replace(group, layers={name: wide(name, layer) for name, layer in group.layers.items()})
        for group in plan.widths
    ]
    bits = [
        [layer.operands.weight_bits for group in of for layer in group.layers.values()]
        for of in (widths, plan.widths)
    ]
    return None if bits[0] == bits[1] else widths


def _with_bits(
    widths: GroupWidths, bits: int, measurement: Measurement, fixed: bool
) -> GroupWidths | None:
    """The group with another N, and the range with the least squared error for it unless fixed."""
    if not MIN_BITS <= bits <= MAX_BITS:
        return None
    layers = {}
    for name, layer in widths.layers.items():
        operands = layer.operands
        if operands.acc_bits is not None:
            try:
                operands = replace(operands, input_bits=bits)
            except BudgetError:
                return None
        layers[name] = replace(layer, operands=operands)
    limits = widths.range
    if not fixed:
        limits = measurement.low, measurement.high
        if bits < MAX_BITS:
            error = input_error(measurement.samples.astype(np.float64), bits)
            limits = error.low, error.high
    return replace(widths, bits=bits, range=limits, layers=layers)


def _with_range(widths: GroupWidths, factor: float, measurement: Measurement) -> GroupWidths | None:
    """The group with a range times a factor, which is at most what was measured."""
    assert widths.range is not None
    low = max(widths.range[0] * factor, min(measurement.low, 0.0))
    high = min(widths.range[1] * factor, max(measurement.high, 0.0))
    return None if (low, high) == widths.range else replace(widths, range=(low, high))
