"""The input widths of layers that AXE will quantize, by solving them for each width.

The fill rule (`fill.py`) weighs the error of rounded weights against that of rounded inputs. OPTQ
and GPFQ leave much less of the former than rounding does, so wider inputs pay than the rule would
choose. Here the layers that read a tensor are solved, on some channels and examples, for N = 8, 7,
... until their error grows. The inputs' rounding error is taken as noise of its own for each input,
with the variance that was measured: one pass over the float model serves all widths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.calibration import Measurement
from keras_accq.errors import BudgetError
from keras_accq.fill import MAX_BITS, MIN_BITS, input_error
from keras_accq.graph.groups import Group
from keras_accq.graph.nodes import Graph, Node
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.geometry import Geometry
from keras_accq.ptq.gram import Gram, Moments
from keras_accq.ptq.layer import solve
from keras_accq.quantizers.axe import AXE
from keras_accq.quantizers.operands import Operands
from keras_accq.settings import LayerSettings

FloatArray = NDArray[np.float64]

_CHANNELS = 16
_EXAMPLES = 128


def choose(
    graph: Graph,
    groups: list[Group],
    settings: Mapping[str, LayerSettings],
    measurements: Sequence[Measurement | None],
    data: RepeatableData,
) -> list[int | None]:
    """N of each group; None where it is given, or some reader has another method.

    Args:
        graph: The float model.
        groups: Its scale groups.
        settings: By compute layer.
        measurements: What the groups' tensors hold; none is None.
        data: Calibration data.
    """
    trials = [_trials(group, settings) for group in groups]
    _gather(graph, [trial for of in trials for trial in of], data)
    return [
        _width(of, measurement) if of else None
        for of, measurement in zip(trials, measurements, strict=True)
    ]


def _gather(graph: Graph, trials: list["_Trial"], data: RepeatableData) -> None:
    if not trials:
        return
    probe = keras.Model(graph.inputs_struct, [graph.tensors[trial.tensor] for trial in trials])
    seen = 0
    for batch in data:
        values = keras.tree.flatten(probe(batch, training=False))
        for trial, value in zip(trials, values, strict=True):
            trial.gather(np.asarray(keras.ops.convert_to_numpy(value)))
        seen += len(keras.tree.flatten(batch)[0])
        if seen >= _EXAMPLES:
            break


def _trials(group: Group, settings: Mapping[str, LayerSettings]) -> list["_Trial"]:
    wanted = [node for node in group.readers if not settings[node.name].exclude]
    free = all(
        settings[node.name].input_bits is None and isinstance(settings[node.name].method, AXE)
        for node in wanted
    )
    return [_Trial(node, settings[node.name]) for node in wanted] if free else []


def _width(trials: list["_Trial"], measurement: Measurement | None) -> int:
    """The width with the least mean relative error of the layers that read a tensor."""
    assert measurement is not None
    samples = measurement.samples.astype(np.float64)
    moments = [trial.moments() for trial in trials]
    best, least = MIN_BITS, np.inf
    for bits in range(MAX_BITS, MIN_BITS - 1, -1):
        noise = input_error(samples, bits).noise
        try:
            error = float(
                np.mean(
                    [
                        trial.error(of, bits, noise)
                        for trial, of in zip(trials, moments, strict=True)
                    ]
                )
            )
        except BudgetError:
            continue
        if error > least:
            break
        best, least = bits, error
    return best


class _Trial:
    """One layer, some of its channels."""

    def __init__(self, node: Node, settings: LayerSettings) -> None:
        self.tensor = node.inputs[0]
        self._settings = settings
        self._geometry = Geometry(node.layer)
        weights = self._geometry.grouped(keras.ops.convert_to_numpy(node.layer.kernel))
        groups, _, channels = weights.shape
        # Of a depthwise layer some groups, of others some channels of each group.
        self._groups = np.linspace(0, groups - 1, min(groups, _CHANNELS)).astype(int)
        own = min(channels, -(-_CHANNELS // len(self._groups)))
        chosen = np.linspace(0, channels - 1, own).astype(int)
        self._weights = weights[self._groups][:, :, chosen]
        self._gram = Gram(
            self._weights,
            cross=settings.method.algorithm == "gpfq",
            overlap=self._geometry.overlap,
        )

    def gather(self, inputs: NDArray[Any]) -> None:
        for (vectors,) in self._geometry.vectors(inputs):
            own = vectors[self._groups]
            self._gram.add(own, own)

    def moments(self) -> Moments:
        found = self._gram.moments()
        return found.centred() if self._settings.method.bias_correction else found

    def error(self, moments: Moments, bits: int, noise: float) -> float:
        """The mean relative squared error of the outputs.

        Args:
            moments: Of the float inputs.
            bits: N.
            noise: The variance of the inputs' rounding errors.

        Raises:
            BudgetError: An accumulator that holds no product of such inputs.
        """
        wanted = self._settings
        operands = Operands(wanted.acc_bits, bits, wanted.weight_bits or MAX_BITS, wanted.tile)
        k = self._weights.shape[1]
        solution = solve(
            self._weights,
            np.maximum(np.abs(self._weights).max(axis=1), 1e-30) / operands.largest,
            replace(moments, gram=moments.gram + noise * np.eye(k)),
            operands,
            _without_descent(wanted.method),
        )
        energy = moments.energy.sum()
        return float(solution.errors.sum() / energy) if energy > 0 else 0.0


def _without_descent(method: AXE) -> AXE:
    return AXE(**{**method.get_config(), "sweeps": 0})
