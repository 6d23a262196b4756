"""What `quantize` decided, and the model made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras

from keras_accq.calibration import Measurement
from keras_accq.graph.build import build
from keras_accq.graph.groups import Group
from keras_accq.graph.nodes import Graph
from keras_accq.ptq.axe import post_train
from keras_accq.ptq.batchnorm import reestimate_batchnorm
from keras_accq.ptq.data import RepeatableData
from keras_accq.settings import LayerSettings
from keras_accq.widths import GroupWidths


@dataclass(frozen=True)
class Plan:
    """Everything that a quantized model is made of.

    Attributes:
        graph: The float model.
        groups: Its scale groups.
        widths: What becomes of each group.
        settings: What the caller asked of each compute layer.
        measurements: What each group's tensors hold; None without calibration data.
        input_ranges: Ranges that the caller gave, by group id.
        data: Calibration data of post-training methods; None without one.
        power_of_two: Only scales that are powers of two.
    """

    graph: Graph
    groups: list[Group]
    widths: list[GroupWidths]
    settings: Mapping[str, LayerSettings]
    measurements: list[Measurement | None]
    input_ranges: Mapping[int, tuple[float, float]]
    data: RepeatableData | None = None
    power_of_two: bool = False

    def asked(self, option: str) -> bool:
        """Whether some layer's method has an option switched on."""
        return any(
            getattr(layer.method, option, False)
            for group in self.widths
            for layer in group.layers.values()
        )


def realize(plan: Plan) -> keras.Model:
    """The quantized model, with the integers of post-training methods solved for."""
    qmodel = build(plan.graph, plan.groups, plan.widths, plan.power_of_two)
    if plan.data is not None:
        post_train(plan.graph, qmodel, plan.data)
        if plan.asked("reestimate_batchnorm"):
            reestimate_batchnorm(qmodel, plan.data, plan.graph.model)
    return qmodel
