"""Plain symmetric weight quantization for layers excluded from the accumulator constraint."""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.grids import OCTAVE_TOLERANCE
from keras_accq.quantizers.method import Method
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.straight_through import round_half_even


@keras.saving.register_keras_serializable(package="keras_accq")
class MaxScale(Method):
    """Rounds to nearest, each channel's largest weight being the largest integer.

    Args:
        power_of_two: Take the next larger power of two as a channel's scale.
    """

    name: ClassVar[str] = "max_scale"
    parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(self, power_of_two: bool = False) -> None:
        self.power_of_two = power_of_two

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
        if self.power_of_two:
            # A hair less: rounding errors would double the scale of weights on such a grid.
            scale = ops.exp2(ops.ceil(ops.log2(scale) - OCTAVE_TOLERANCE))
        return round_half_even(ops.clip(v / scale, -largest, largest)), scale
