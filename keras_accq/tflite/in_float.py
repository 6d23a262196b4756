"""Layers that files compute in float32, as plain TensorFlow operations and what these become.

LayerNormalization has no int8 operator in TFLite, and on the grid of attention's scores there is
no value that is low enough for a mask.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_accq.layers.attention import causal_mask

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class InFloat:
    """A layer in float32.

    Attributes:
        result: TensorFlow's tensor.
        operators: What the converter makes of it, by TFLite's names.
        constants: All that they read.
    """

    result: Any
    operators: tuple[str, ...]
    constants: tuple[FloatArray, ...]


def layer_norm(
    x: Any, epsilon: float, gamma: FloatArray | None, beta: FloatArray | None
) -> InFloat:
    """Layer normalization over the last axis.

    Args:
        x: TensorFlow's tensor.
        epsilon: Added to the variance.
        gamma: float32 [channels], or None for all 1, which the converter would leave out.
        beta: float32 [channels], or None for all 0, likewise.
    """
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
    operators, constants = ["MEAN", "SUB", "MUL", "MEAN"], []
    if epsilon:
        constants.append(np.asarray(epsilon, np.float32))
        variance = variance + constants[0]
        operators.append("ADD")
    y = centred * tf.math.rsqrt(variance)
    operators += ["RSQRT", "MUL"]
    if gamma is not None:
        y = y * gamma
        operators.append("MUL")
        constants.append(gamma)
    if beta is not None:
        y = y + beta
        operators.append("ADD")
        constants.append(beta)
    return InFloat(y, tuple(operators), tuple(constants))


def causal_softmax(scores: Any) -> InFloat:
    """Softmax over the last axis, in which no position attends to a later one.

    Args:
        scores: TensorFlow's tensor, [..., T, S].
    """
    mask = causal_mask(*scores.shape[-2:])
    return InFloat(tf.nn.softmax(scores + mask), ("ADD", "SOFTMAX"), (mask,))
