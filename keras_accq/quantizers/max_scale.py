"""Plain symmetric weight quantization for layers excluded from the accumulator constraint."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.straight_through import round_half_even


@keras.saving.register_keras_serializable(package="keras_accq")
class MaxScale:
    """Rounds to nearest, each channel's largest weight being the largest integer."""

    parameters: tuple[str, ...] = ()
    regularization = 0.0

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaxScale":
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaxScale)

    def __hash__(self) -> int:
        return hash("MaxScale")

    def __repr__(self) -> str:
        return "MaxScale()"

    def initial(
        self, weights: NDArray[Any], scales: NDArray[Any], operands: Operands
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """The weights [K, C] as they are: the scale follows from them."""
        return weights.astype(np.float32), {}

    def quantize(self, v: Any, parameters: dict[str, Any], operands: Operands) -> tuple[Any, Any]:
        """Integers q [K, C] (as float32, with straight-through gradients) and scales s [C]."""
        largest = float(operands.largest)
        peak = ops.max(ops.abs(v), axis=0)
        scale = ops.stop_gradient(ops.where(peak > 0, peak / largest, 1.0))
        return round_half_even(ops.clip(v / scale, -largest, largest)), scale

    def penalty(self, v: Any, parameters: dict[str, Any], operands: Operands) -> Any:
        return ops.zeros(())
