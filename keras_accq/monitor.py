"""How full the accumulators are, in the logs of training."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import accumulator_limit, worst_case
from keras_accq.kerases import is_tf_keras
from keras_accq.layers import QuantizedWeights
from keras_accq.layers.kernels import Layout, layout
from keras_accq.quantizers.operands import Operands

# Holds the sums of any int8 layer, as those of ordinary kernels do.
_WIDE = 32


@dataclass(frozen=True)
class BudgetUse:
    """What a layer's weights do to its accumulator.

    Attributes:
        used: The exact worst case over the accumulator's limit, of the fullest cell: at most 1.
        at_risk: The share of channels that would not fit if nothing constrained them: whose
            weights, rounded for an accumulator of 32 bits, have a worst case beyond the limit.
    """

    used: float
    at_risk: float


class BudgetMonitor(keras.callbacks.Callback):
    """Adds budgets to the logs at the end of each epoch, for `fit` of either Keras.

    A constrained layer can not overflow; what can happen is that the constraint takes much from its
    weights. The logs get

    - `budget_use/LAYER`: the worst case over the accumulator's limit (`BudgetUse.used`), and
      `budget_use`, the largest of all layers;
    - `overflow_risk/LAYER`: the share of channels that only the constraint keeps from overflowing
      (`BudgetUse.at_risk`), and `overflow_risk`, that of all channels.

    History, CSVLogger and TensorBoard write what they find in the logs: put this before them in the
    list of callbacks.

    Args:
        per_layer: Whether each layer is in the logs; otherwise only the model's two values are.

    Raises:
        ValueError: In `fit`, the model has no constrained layer.
    """

    def __init__(self, per_layer: bool = True) -> None:
        super().__init__()
        self.per_layer = per_layer

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses a model without budgets, before anything is trained."""
        if not _constrained(self.model):
            raise ValueError(
                f"BudgetMonitor: model {self.model.name!r} has no layer with an accumulator "
                "budget; expected one from accq.quantize"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the values to `logs`."""
        if logs is None:
            return
        layers = _constrained(self.model)
        found = {layer.name: layer.use() for layer in layers}
        if self.per_layer:
            for name, use in found.items():
                logs[f"budget_use/{name}"] = use.used
                logs[f"overflow_risk/{name}"] = use.at_risk
        channels = [layer.layout.channels for layer in layers]
        logs["budget_use"] = max(use.used for use in found.values())
        logs["overflow_risk"] = float(
            np.average([use.at_risk for use in found.values()], weights=channels)
        )

    # What tf_keras asks its callbacks besides.
    def _implements_train_batch_hooks(self) -> bool:
        return False

    _implements_test_batch_hooks = _implements_train_batch_hooks
    _implements_predict_batch_hooks = _implements_train_batch_hooks


@dataclass(frozen=True)
class _Layer:
    """A constrained layer of either Keras.

    Attributes:
        name: The layer's own.
        layout: Of its kernel.
        operands: Its widths.
        quantize: Its [K, channels] integers for given widths.
    """

    name: str
    layout: Layout
    operands: Operands
    quantize: Any

    def use(self) -> BudgetUse:
        """Now."""
        worst = self._worst(self.operands)
        wide = self._worst(replace(self.operands, acc_bits=_WIDE))
        if worst is None or wide is None:
            return BudgetUse(float("nan"), float("nan"))
        assert self.operands.acc_bits is not None
        limit = accumulator_limit(self.operands.acc_bits)
        return BudgetUse(int(worst.max()) / limit, float(np.mean(wide > limit)))

    def _worst(self, operands: Operands) -> NDArray[np.int64] | None:
        """Of each channel; None if training made the weights NaN or infinite."""
        q = keras.ops.convert_to_numpy(self.quantize(operands))
        if not np.isfinite(q).all():
            return None
        return worst_case(np.rint(q).astype(np.int64).T, *operands.input_range, operands.partition)


def _constrained(model: Any) -> list[_Layer]:
    found = _of_tf_keras(model) if is_tf_keras(model) else _of_keras(model)
    return [layer for layer in found if layer.operands.acc_bits is not None]


def _of_keras(model: Any) -> list[_Layer]:
    return [
        _Layer(
            layer.name,
            layout(layer),
            layer.operands,
            lambda operands, x=layer: x.method.quantize(x._matrix(), x._values(), operands)[0],
        )
        for layer in model.layers
        if isinstance(layer, QuantizedWeights)
    ]


def _of_tf_keras(model: Any) -> list[_Layer]:
    from keras_accq.tfmot.config import AccumulatorQuantizeWrapper

    return [
        _Layer(
            wrapper.layer.name,
            wrapper.weight_quantizer.layout,
            wrapper.weight_quantizer.operands,
            lambda operands, x=wrapper: x.weight_quantizer.integers(
                x.variable, x.parameters, operands
            )[0],
        )
        for wrapper in model.layers
        if isinstance(wrapper, AccumulatorQuantizeWrapper)
    ]
