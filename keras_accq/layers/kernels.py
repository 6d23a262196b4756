"""Keras kernels as matrices [K, channels], K in a `.tflite` file's order (kh, kw, cin), and back.

Layers keep their output channels last, but for DepthwiseConv2D, whose last two axes are channels,
and Conv2DTranspose, whose kernel is (kh, kw, out, in).
"""

from typing import Any

import keras
import numpy as np


def channels(layer: Any) -> int:
    """Output channels of a built compute layer, quantized or not, counted by its kernel."""
    *_, a, b = (int(size) for size in layer.kernel.shape)
    if is_depthwise(layer):
        return a * b
    return a if isinstance(layer, keras.layers.Conv2DTranspose) else b


def is_depthwise(layer: Any) -> bool:
    """Whether each channel of a compute layer, quantized or not, reads one input channel only."""
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def to_matrix(layer: Any, kernel: Any, xp: Any = np) -> Any:
    """A compute layer's kernel as [K, channels].

    Args:
        layer: A built Keras compute layer, quantized or not.
        kernel: An array in the layout of the layer's kernel, of any dtype.
        xp: `numpy` for NumPy's arrays, `keras.ops` for a backend's.
    """
    if isinstance(layer, keras.layers.Conv2DTranspose):
        kernel = xp.swapaxes(kernel, -1, -2)
    return xp.reshape(kernel, (-1, channels(layer)))


def from_matrix(layer: Any, matrix: Any, xp: Any = np) -> Any:
    """What `to_matrix` gave, in the layout of the layer's kernel."""
    *window, a, b = (int(size) for size in layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return xp.swapaxes(xp.reshape(matrix, (*window, b, a)), -1, -2)
    return xp.reshape(matrix, (*window, a, b))
