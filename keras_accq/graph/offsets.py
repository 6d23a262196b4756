"""Adding to what a compute layer puts out, per channel."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.nodes import Node


def add_offset(node: Node, readers: list[Node], change: NDArray[Any]) -> bool:
    """Adds to a layer's output, after the BatchNormalization that follows it if there is one.

    The bias takes it, or BatchNormalization's beta, or for want of that its moving mean.

    Args:
        node: A compute node.
        readers: The nodes that read its output.
        change: float [channels].

    Returns:
        Whether anything could take it: False for a layer with neither.
    """
    norm = readers[0].layer if readers else None
    if not isinstance(norm, keras.layers.BatchNormalization):
        if node.layer.bias is None:
            return False
        _add(node.layer.bias, change)
    elif norm.beta is not None:
        _add(norm.beta, change)
    else:
        _add(norm.moving_mean, -change * _deviation(norm) / _gamma(norm))
    return True


def _deviation(norm: Any) -> Any:
    variance = keras.ops.convert_to_numpy(norm.moving_variance).astype(np.float64)
    return np.sqrt(variance + norm.epsilon)


def _gamma(norm: Any) -> Any:
    """gamma, with 1 for 0: a silent channel without beta puts out 0 whatever its mean is."""
    if norm.gamma is None:
        return 1.0
    gamma = keras.ops.convert_to_numpy(norm.gamma).astype(np.float64)
    return np.where(gamma == 0, 1.0, gamma)


def _add(variable: Any, change: Any) -> None:
    variable.assign(keras.ops.convert_to_numpy(variable) + change.astype(np.float32))
