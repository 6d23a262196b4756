"""Keras kernels as matrices [K, channels], K in a `.tflite` file's order (kh, kw, cin), and back.

Layers keep their output channels last, but for DepthwiseConv2D, whose last two axes are channels,
and Conv2DTranspose, whose kernel is (kh, kw, out, in).
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Layout:
    """How a layer of either Keras lays out its kernel.

    Attributes:
        shape: The kernel's.
        depthwise: Whether each channel reads one input channel only.
        transposed: Whether the kernel is (kh, kw, out, in).
    """

    shape: tuple[int, ...]
    depthwise: bool = False
    transposed: bool = False

    @property
    def channels(self) -> int:
        """Output channels."""
        *_, a, b = self.shape
        if self.depthwise:
            return a * b
        return a if self.transposed else b

    def to_matrix(self, kernel: Any, xp: Any = np) -> Any:
        """See the function `to_matrix`."""
        if self.transposed:
            kernel = xp.swapaxes(kernel, -1, -2)
        return xp.reshape(kernel, (-1, self.channels))

    def from_matrix(self, matrix: Any, xp: Any = np) -> Any:
        """See the function `from_matrix`."""
        *window, a, b = self.shape
        if self.transposed:
            return xp.swapaxes(xp.reshape(matrix, (*window, b, a)), -1, -2)
        return xp.reshape(matrix, (*window, a, b))


def layout(layer: Any) -> Layout:
    """Of a built Keras 3 compute layer, quantized or not."""
    shape = tuple(int(size) for size in layer.kernel.shape)
    transposed = isinstance(layer, keras.layers.Conv2DTranspose)
    return Layout(shape, is_depthwise(layer), transposed)


def channels(layer: Any) -> int:
    """Output channels of a built compute layer, quantized or not, counted by its kernel."""
    return layout(layer).channels


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
    return layout(layer).to_matrix(kernel, xp)


def from_matrix(layer: Any, matrix: Any, xp: Any = np) -> Any:
    """What `to_matrix` gave, in the layout of the layer's kernel."""
    return layout(layer).from_matrix(matrix, xp)
