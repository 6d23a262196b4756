"""A factor and an offset for each channel, as a layer that an accumulator sums for."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def depthwise(
    x: Any,
    name: str,
    factor: NDArray[Any],
    offset: NDArray[Any] | None,
    dtype: Any,
    then: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """`then(x·factor + offset)`, by a DepthwiseConv2D of kernel size 1.

    Each of its sums is one product, on a scale of its channel's own: its integers lose nothing.

    Args:
        x: A Keras tensor, channels last. If it is no image it is called one of height 1.
        name: The layer's.
        factor: float [channels].
        offset: float [channels]; None for a layer without a bias.
        dtype: The layer's dtype policy.
        then: What else is to be done to the image.
    """
    shape = x.shape
    if len(shape) == 4:
        return then(_layer(x, name, factor, offset, dtype))
    sizes = [-1 if size is None else size for size in shape[1:]]
    rows = keras.layers.Reshape((1, -1, sizes[-1]), name=f"{name}-image")(x)
    y = then(_layer(rows, name, factor, offset, dtype))
    return keras.layers.Reshape(sizes, name=f"{name}-shape")(y)


def _layer(x: Any, name: str, factor: NDArray[Any], offset: NDArray[Any] | None, dtype: Any) -> Any:
    layer = keras.layers.DepthwiseConv2D(1, use_bias=offset is not None, name=name, dtype=dtype)
    y = layer(x)
    kernel = np.reshape(factor, layer.kernel.shape).astype(np.float32)
    layer.set_weights([kernel] if offset is None else [kernel, offset.astype(np.float32)])
    return y
