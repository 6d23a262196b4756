"""PReLU with slopes that an int8 file can hold."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.quantizers.straight_through import round_half_even

_LARGEST = 127.0
# Of all-zero slopes: any scale holds them.
_SMALLEST = 1e-6


class QuantizedSlopes:
    """Mixed into the PReLU of either Keras, puts its slopes on a symmetric grid of 255 integers."""

    name: Any
    alpha: Any
    compute_dtype: Any

    def _quantized(self) -> Any:
        alpha = ops.cast(ops.convert_to_tensor(self.alpha), "float32")
        scale = ops.stop_gradient(ops.maximum(ops.max(ops.abs(alpha)), _SMALLEST) / _LARGEST)
        return round_half_even(alpha / scale) * scale

    def call(self, inputs: Any) -> Any:
        alpha = ops.cast(self._quantized(), self.compute_dtype)
        return ops.relu(inputs) - alpha * ops.relu(-inputs)

    def quantized_alpha(self) -> NDArray[np.float32]:
        """The slopes, float32 in the shape of `alpha`.

        Raises:
            ValueError: Slopes that are not finite.
        """
        alpha: NDArray[np.float32] = ops.convert_to_numpy(self._quantized()).astype(np.float32)
        if not np.isfinite(alpha).all():
            raise ValueError(
                f"{self.name}: expected finite slopes, received NaN or infinity; did the training "
                "diverge?"
            )
        return alpha


@keras.saving.register_keras_serializable(package="keras_accq")
class QuantizedPReLU(QuantizedSlopes, keras.layers.PReLU):
    """`keras.layers.PReLU` whose slopes lie on one symmetric grid of 255 integers."""
