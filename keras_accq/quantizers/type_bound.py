"""Widths that fit an accumulator by their types alone: a baseline."""

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.method import Method
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import Nearest
from keras_accq.quantizers.straight_through import round_half_even


@keras.saving.register_keras_serializable(package="keras_accq")
class TypeBound(Method):
    """The method "type_bound": weights rounded to nearest, and no constraint on them.

    Only widths N and M are allowed for which K products of any N-bit inputs and M-bit weights fit
    (A2Q, arXiv 2308.13504, equation 3, for signed inputs; with a tile, of its length).
    """

    name: ClassVar[str] = "type_bound"

    def rounding(self, depthwise: bool = False) -> Nearest:
        """See `Method.rounding`."""
        return Nearest()

    def initial(
        self, weights: NDArray[Any], scales: NDArray[Any], operands: Operands
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """The weights as they are: see `Method.initial`."""
        return weights.astype(np.float32), {"log2_scale": np.log2(scales).astype(np.float32)}

    def quantize(self, v: Any, parameters: dict[str, Any], operands: Operands) -> tuple[Any, Any]:
        """Integers q [K, C] (as float32, with straight-through gradients) and scales s [C]."""
        scale = ops.exp2(parameters["log2_scale"])
        largest = float(operands.largest)
        return round_half_even(ops.clip(v / scale, -largest, largest)), scale
