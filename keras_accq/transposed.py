"""The geometry of a transposed convolution: sizes, padding and phases.

Along one axis, with stride s, a kernel of k taps and p elements cut off before, output o sums

    y[o] = Σ w[a]·x[(o + p - a) / s]    over the taps a for which s divides o + p - a

so an output meets only the taps of its *phase*, a ≡ o + p (mod s): every s-th tap of the kernel.
In two dimensions there are stride_h·stride_w phases, and each is a stride-1 convolution with its
own part of the kernel, flipped.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Padding = Literal["SAME", "VALID"]


class Axis(NamedTuple):
    """One spatial axis.

    Attributes:
        size: Inputs.
        kernel: Taps.
        stride: Outputs from one input's first tap to the next input's.
        out: Outputs.
        padding: TFLite's; SAME cuts what reaches over `out`, the odd element behind.
    """

    size: int
    kernel: int
    stride: int
    out: int
    padding: Padding

    def problem(self) -> str | None:
        """Why LiteRT's int8 kernel does not take this axis, or None.

        The convolution of which this is the transpose must make `size` outputs of `out` inputs.
        """
        least = (self.size - 1) * self.stride + (1 if self.padding == "SAME" else self.kernel)
        if not least <= self.out < least + self.stride:
            return (
                f"an output of {self.out}; {self.size} inputs, a kernel of {self.kernel}, stride "
                f"{self.stride} and {self.padding} padding make {least} to "
                f"{least + self.stride - 1}"
            )
        if self.padding == "SAME" and self.kernel < self.stride:
            return (
                f"a kernel of {self.kernel}, less than its stride of {self.stride}, with SAME "
                "padding, where LiteRT leaves XNNPACK for a kernel that rounds otherwise"
            )
        return None

    @property
    def cut(self) -> int:
        """Elements cut off before the first output."""
        if self.padding == "VALID":
            return 0
        return max(0, (self.size - 1) * self.stride + self.kernel - self.out) // 2

    def sources(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which input each tap of each output meets.

        Returns:
            int64 [out, kernel], the input's place, which may lie outside [0, size); and bool
            [out, kernel], whether the tap belongs to the output's phase at all.
        """
        reach = np.arange(self.out)[:, None] + self.cut - np.arange(self.kernel)
        return reach // self.stride, reach % self.stride == 0


class Phase(NamedTuple):
    """The weights that the outputs of one phase sum.

    Attributes:
        places: int64, their places in K, in the order of the stride-1 convolution that the phase
            is: the last tap first, channels in order.
        row: How many of them make a row of that convolution's kernel.
    """

    places: NDArray[np.int64]
    row: int


def phases(kernel: tuple[int, int], strides: tuple[int, int], channels: int) -> Iterator[Phase]:
    """The phases that have any taps.

    Args:
        kernel: Height and width.
        strides: By height and width.
        channels: Input channels; K is kernel height, kernel width, input channel.
    """
    places = np.arange(kernel[0] * kernel[1] * channels).reshape(*kernel, channels)
    for h in range(min(kernel[0], strides[0])):
        for w in range(min(kernel[1], strides[1])):
            taps = places[h :: strides[0], w :: strides[1]][::-1, ::-1]
            yield Phase(taps.reshape(-1), taps.shape[1] * channels)


def output_size(
    size: int, kernel: int, stride: int, padding: str, output_padding: int | None
) -> int:
    """How many outputs a Keras layer makes along an axis, where `tflite_padding` takes it.

    Args:
        size: Inputs.
        kernel: Taps.
        stride: Of the outputs.
        padding: Keras's, "same" or "valid".
        output_padding: Keras's; None unless the padding is "valid".
    """
    if padding == "same":
        return size * stride
    more = max(stride - kernel, 0) if output_padding is None else output_padding
    return (size - 1) * stride + kernel + more


def tflite_padding(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    output_padding: tuple[int, int] | None,
) -> Padding:
    """The padding with which TRANSPOSE_CONV computes a Keras layer, whatever the input's size.

    Args:
        kernel: Height and width.
        strides: By height and width.
        padding: Keras's, "same" or "valid".
        output_padding: Keras's.

    Raises:
        ValueError: There is none; the text says what the layer has and what is expected.
    """
    if padding == "valid":
        return "VALID"  # Keras checks output_padding against the strides.
    if output_padding is not None:
        # Keras makes (size - 1)·stride + kernel % 2 + output_padding outputs, cut differently on
        # each of its backends.
        raise ValueError(
            f"output_padding {output_padding} with padding 'same'; expected None or padding 'valid'"
        )
    if all(k <= s for k, s in zip(kernel, strides, strict=True)):
        return "VALID"  # Nothing is cut off: size·stride outputs either way.
    if any(k < s for k, s in zip(kernel, strides, strict=True)):
        raise ValueError(
            f"kernel_size {kernel} with strides {strides}: padding 'same' needs a kernel of at "
            "least the stride in both directions, or of at most the stride in both"
        )
    return "SAME"
