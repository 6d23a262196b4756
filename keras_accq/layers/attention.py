"""What is left of attention when its projections are layers of their own."""

from typing import Any

import keras
import numpy as np
from keras import ops

# Added to the score of a later position. exp of what is so far below the others is 0.
_NEVER = -1e9


@keras.saving.register_keras_serializable(package="keras_accq")
class ActivationProduct(keras.layers.Layer):
    """Matrix products of two tensors, neither of which is a weight.

    Called with a list of two tensors, float [..., T, K] and [..., K, S], gives [..., T, S].

    Args:
        transpose_b: Whether the second one comes as [..., S, K].
    """

    def __init__(self, transpose_b: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.transpose_b = transpose_b

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "transpose_b": self.transpose_b}

    def call(self, inputs: Any) -> Any:
        a, b = inputs
        return ops.matmul(a, ops.swapaxes(b, -1, -2) if self.transpose_b else b)

    def compute_output_shape(self, input_shape: Any) -> Any:
        a, b = input_shape
        return (*a[:-1], b[-2] if self.transpose_b else b[-1])


@keras.saving.register_keras_serializable(package="keras_accq")
class AttentionSoftmax(keras.layers.Layer):
    """Softmax over the last axis of attention's scores, float [..., T, S].

    Args:
        causal: Whether position t attends to the positions up to t only.
    """

    def __init__(self, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.causal = causal

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "causal": self.causal}

    def call(self, inputs: Any) -> Any:
        # In float16 one in 2048 of a probability is lost before it is rounded to one in 256.
        scores = ops.cast(inputs, "float32")
        if self.causal:
            scores = scores + ops.convert_to_tensor(causal_mask(*scores.shape[-2:]))
        return ops.cast(ops.softmax(scores), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def causal_mask(queries: int, keys: int) -> Any:
    """What is added to scores so that no position attends to a later one.

    Args:
        queries: T, how many positions attend.
        keys: S, to how many.

    Returns:
        float32 [T, S]: 0, or what leaves nothing of the softmax.
    """
    later = np.arange(keys) > np.arange(queries)[:, None]
    return np.where(later, np.float32(_NEVER), np.float32(0))
