"""The inputs of a layer as the vectors that its dot products see, in file order.

A convolution is one dot product for each output position and channel. Its inputs there are cut out
of the input tensor, which is padded with the real value 0, as TensorFlow does. Needs NumPy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_accq.reference import transposed_patches
from keras_accq.transposed import Axis, output_size, tflite_padding


@dataclass(frozen=True)
class Window:
    """Which inputs each output of a convolution takes.

    Attributes:
        kernel: Height and width.
        strides: Down and across.
        dilation: Down and across.
        padding: "same" or "valid".
        groups: Groups of input channels, one behind the other, each with output channels of its
            own. The input channels of a depthwise convolution are a group each.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Literal["same", "valid"] = "valid"
    groups: int = 1


@dataclass(frozen=True)
class TransposedWindow:
    """Which inputs each output of a transposed convolution takes.

    Attributes:
        kernel: Height and width.
        strides: Down and across.
        padding: "same" or "valid".
        output_padding: Keras's, down and across.
        groups: 1.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Literal["same", "valid"] = "valid"
    output_padding: tuple[int, int] | None = None
    groups: Literal[1] = 1

    def axes(self, sizes: Sequence[int]) -> tuple[Axis, Axis]:
        """Height and width for inputs of these sizes."""
        padding = tflite_padding(self.kernel, self.strides, self.padding, self.output_padding)
        more = (None, None) if self.output_padding is None else self.output_padding
        height, width = (
            Axis(size, kernel, stride, output_size(size, kernel, stride, self.padding, m), padding)
            for size, kernel, stride, m in zip(sizes, self.kernel, self.strides, more, strict=True)
        )
        return height, width


def patches(inputs: ArrayLike, window: Window | TransposedWindow | None) -> NDArray[np.float64]:
    """The vectors of inputs that a layer multiplies with its weights.

    Args:
        inputs: [batch, height, width, channels] for a convolution, [batch, K] for a Dense layer.
        window: None for a Dense layer.

    Returns:
        float64 [groups, vectors, K], K in file order: kh, kw, input channel of the group. An
        output of a transposed convolution meets the taps of one phase (`keras_accq.transposed`);
        the others are 0. So the Gram matrix of the vectors is the phases' own matrices, each in
        its place, and 0 between two phases.

    Raises:
        ValueError: Inputs of another rank, or channels that the groups do not divide.
    """
    values = np.asarray(inputs, np.float64)
    rank = 2 if window is None else 4
    if values.ndim != rank:
        raise ValueError(f"inputs: expected {rank} axes, received shape {values.shape}")
    if window is None:
        return values[None]
    if values.shape[-1] % window.groups:
        raise ValueError(
            f"inputs: expected channels that {window.groups} groups divide, received "
            f"{values.shape[-1]}"
        )
    if isinstance(window, TransposedWindow):
        taken = transposed_patches(values, window.axes(values.shape[1:3]), 0.0)
        return taken.reshape(1, int(np.prod(taken.shape[:3])), -1)
    for axis in (0, 1):
        values = _padded(values, window, axis)
    height, width = (_extent(window, axis) for axis in (0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(values, (height, width), axis=(1, 2))
    (down, across), (row_step, column_step) = window.strides, window.dilation
    # [batch, out height, out width, channels, kh, kw]
    windows = windows[:, ::down, ::across, :, ::row_step, ::column_step]
    kernel_height, kernel_width = window.kernel
    vectors = int(np.prod(windows.shape[:3]))
    channels = values.shape[-1] // window.groups
    split = windows.reshape(
        *windows.shape[:3], window.groups, channels, kernel_height, kernel_width
    )
    ordered = split.transpose(3, 0, 1, 2, 5, 6, 4)
    return ordered.reshape(window.groups, vectors, kernel_height * kernel_width * channels)


def _extent(window: Window, axis: int) -> int:
    """Rows or columns from a kernel's first tap to its last, both counted."""
    return (window.kernel[axis] - 1) * window.dilation[axis] + 1


def _padded(values: NDArray[np.float64], window: Window, axis: int) -> NDArray[np.float64]:
    if window.padding == "valid":
        return values
    size, stride = values.shape[1 + axis], window.strides[axis]
    missing = max((-(-size // stride) - 1) * stride + _extent(window, axis) - size, 0)
    around = [(0, 0)] * 4
    around[1 + axis] = (missing // 2, missing - missing // 2)
    return np.pad(values, around)
