"""The arithmetic contract of the int8 ops, in NumPy: what LiteRT's default CPU path computes.

For output channel c, with stored int8 inputs x (zero point z_x, already clamped to the op's input
range) and int8 weights q of zero point 0:

    acc = sum over k of x[k] * q[c][k]                      (the true integer)
    m   = fl32(fl32(s_x * s_w[c]) / s_y)
    y   = z_y + round_half_even(fl32(fl32(acc + bias[c] - z_x * sum(q[c])) * m))

clamped to the activation's limits and to the op's output range; fl32 rounds to float32 after every
single operation. Padding contributes the stored value z_x. In a transposed convolution k runs over
the taps of the output's phase only, in both sums. The C++ statement of the same contract is
`tflite_kernels/kernels/reference.cc`.
"""

from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_accq.bounds import IntArray
from keras_accq.transposed import Axis

Int8Array = NDArray[np.int8]
FloatArray = NDArray[np.float32]

_Number = TypeVar("_Number", bound=np.number[Any])

# TFLite's ActivationFunctionType, by its number, as real limits.
_ACTIVATIONS: dict[int, tuple[float | None, float | None]] = {
    0: (None, None),
    1: (0.0, None),
    2: (-1.0, 1.0),
    3: (0.0, 6.0),
}


def multipliers(input_scale: float, weight_scales: ArrayLike, output_scale: float) -> FloatArray:
    """m of the contract, in two float32 roundings: float32 [channels]."""
    product = np.float32(input_scale) * np.asarray(weight_scales, np.float32)
    return np.asarray(product / np.float32(output_scale), np.float32)


def activation_limits(activation: int, scale: float, zero_point: int) -> tuple[int, int]:
    """The int8 values that an activation's real limits become on the output's grid.

    Args:
        activation: TFLite's number: 0 none, 1 RELU, 2 RELU_N1_TO_1, 3 RELU6.
        scale: The output's scale.
        zero_point: The output's zero point.

    Raises:
        ValueError: Another activation.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of 0, 1, 2, 3, received {activation}")
    low, high = (
        end if real is None else _on_grid(real, scale, zero_point)
        for real, end in zip(_ACTIVATIONS[activation], (-128, 127), strict=True)
    )
    return low, high


def _on_grid(real: float, scale: float, zero_point: int) -> int:
    steps = np.float32(real) / np.float32(scale) + np.float32(zero_point)
    return int(np.rint(np.clip(steps, np.float32(-128), np.float32(127))))


def effective_bias(q: Int8Array, bias: IntArray | None, input_zero_point: int) -> IntArray:
    """bias - z_x * sum(q), per channel, for weights [channels, K]: int64 [channels]."""
    folded = -int(input_zero_point) * q.sum(axis=1, dtype=np.int64)
    return folded if bias is None else folded + bias


def requantize(
    sums: IntArray, multiplier: FloatArray, zero_point: int, low: int, high: int
) -> Int8Array:
    """Sums with their effective bias, [..., channels], to stored outputs: int8, the same shape."""
    real = sums.astype(np.float32) * multiplier
    # In float64: the largest real output, 2^31 * 256, plus z_y would round in float32.
    return np.clip(np.rint(real).astype(np.float64) + zero_point, low, high).astype(np.int8)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TFLite's SAME padding of one axis: (before, after)."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def transposed_patches(
    x: NDArray[_Number], axes: tuple[Axis, Axis], pad_value: float
) -> NDArray[_Number]:
    """The inputs that each output position of a transposed convolution multiplies.

    Args:
        x: [n, h, w, channels], of any dtype.
        axes: Height and width.
        pad_value: What inputs that are not there count as: for stored ones their zero point.

    Returns:
        [n, out_h, out_w, kh, kw, channels] of x's dtype; 0 at taps of other phases, which have no
        product.
    """
    # Two more rows and columns: one that stands for a missing input, one for another phase.
    grown = np.pad(x, [(0, 0), (0, 2), (0, 2), (0, 0)], constant_values=pad_value)
    grown[:, -1] = grown[:, :, -1] = 0
    places = []
    for axis in axes:
        place, in_phase = axis.sources()
        place = np.where((place >= 0) & (place < axis.size), place, axis.size)
        places.append(np.where(in_phase, place, axis.size + 1))
    rows, columns = places
    taken: NDArray[_Number] = grown[:, rows[:, None, :, None], columns[None, :, None, :]]
    return taken


def patches(
    x: Int8Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Literal["same", "valid"],
    pad_value: int,
) -> Int8Array:
    """The inputs that each output position sees.

    Args:
        x: int8 [n, h, w, channels].
        kernel: Height and width.
        stride: By height and width.
        dilation: By height and width.
        padding: "same" pads with `pad_value` as TFLite does.
        pad_value: The stored value of padding, the input's zero point.

    Returns:
        A view, int8 [n, out_h, out_w, kh, kw, channels].
    """
    if padding == "same":
        ends = [same_padding(x.shape[1 + i], kernel[i], stride[i], dilation[i]) for i in range(2)]
        x = np.pad(x, [(0, 0), *ends, (0, 0)], constant_values=pad_value)
    reach = tuple((kernel[i] - 1) * dilation[i] + 1 for i in range(2))
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
    taps = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return taps.transpose(0, 1, 2, 4, 5, 3)
