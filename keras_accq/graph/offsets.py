"""Adding to what a compute layer puts out, per channel."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.graph.nodes import Node


def add_offset(
    node: Node, readers: list[Node], change: NDArray[Any], *, to_mean: bool = False
) -> bool:
    """Adds to a layer's output, after the BatchNormalization that follows it if there is one.

    The bias takes it, or BatchNormalization's beta, or for want of that its moving mean.

    Args:
        node: A compute node.
        readers: The nodes that read its output.
        change: float [channels].
        to_mean: Prefer the moving mean to beta. In training BatchNormalization takes the mean of
            each batch out by itself: a beta that did so too would be wrong there. beta still takes
            what a channel whose gamma is 0 should put out.

    Returns:
        Whether anything could take it: False for a layer with neither.
    """
    norm = readers[0].layer if readers else None
    if not isinstance(norm, keras.layers.BatchNormalization):
        if node.layer.bias is None:
            return False
        _add(node.layer.bias, change)
        return True
    gamma = _gamma(norm)
    if norm.beta is not None:
        by_beta = gamma == 0 if to_mean else np.full(len(change), True)
        _add(norm.beta, np.where(by_beta, change, 0.0))
        change = np.where(by_beta, 0.0, change)
    # Without beta a channel whose gamma is 0 puts out 0 whatever its mean is.
    _add(norm.moving_mean, -change * _deviation(norm) / np.where(gamma == 0, 1.0, gamma))
    return True


def _deviation(norm: Any) -> Any:
    variance = keras.ops.convert_to_numpy(norm.moving_variance).astype(np.float64)
    return np.sqrt(variance + norm.epsilon)


def _gamma(norm: Any) -> NDArray[np.float64]:
    if norm.gamma is None:
        return np.ones(norm.moving_mean.shape)
    gamma: NDArray[np.float64] = keras.ops.convert_to_numpy(norm.gamma).astype(np.float64)
    return gamma


def _add(variable: Any, change: Any) -> None:
    variable.assign(keras.ops.convert_to_numpy(variable) + change.astype(np.float32))
