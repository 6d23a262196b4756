"""A layer's dot products as matrices: what each output sums, and what is added to the sums.

For convolutions of all kinds and fully-connected layers alike: [groups, positions, K] times
[groups, channels of a group, K]. NumPy only.
"""

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import IntArray
from keras_accq.reference import Int8Array, effective_bias, patches, transposed_patches
from keras_accq.transposed import Axis

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Layer(Protocol):
    """What of a layer is needed; `keras_accq.tflite.ops.QuantizedOp` explains each."""

    @property
    def kind(self) -> str: ...
    @property
    def channels(self) -> int: ...
    @property
    def z_x(self) -> int: ...
    @property
    def bias(self) -> NDArray[Any] | None: ...
    @property
    def padding(self) -> str: ...
    @property
    def filter_h(self) -> int: ...
    @property
    def filter_w(self) -> int: ...
    @property
    def stride_h(self) -> int: ...
    @property
    def stride_w(self) -> int: ...
    @property
    def dilation_h(self) -> int: ...
    @property
    def dilation_w(self) -> int: ...
    @property
    def axes(self) -> tuple[Axis, Axis] | None: ...
    @property
    def depth_multiplier(self) -> int: ...
    @property
    def groups(self) -> int: ...
    def weights(self) -> NDArray[np.int8]:
        """[channels, K]."""


def summed_bias(op: Layer) -> IntArray:
    """What is added to the sums: [channels]; [positions, channels] where positions differ."""
    q = op.weights()
    if op.axes is None:
        return effective_bias(q, op.bias, op.z_x)
    rows, columns = (axis.sources()[1] for axis in op.axes)
    taps = rows[:, None, :, None] & columns[None, :, None, :]
    taps = taps.reshape(len(rows) * len(columns), -1)
    sums = q.reshape(op.channels, taps.shape[1], -1).sum(axis=2, dtype=np.int64)
    bias = 0 if op.bias is None else op.bias.astype(np.int64)
    folded: IntArray = bias - op.z_x * (taps.astype(np.int64) @ sums.T)
    return folded


def _groups(op: Layer) -> int:
    """Sets of output channels that see inputs of their own."""
    if op.kind == "depthwise_conv2d":
        return op.channels // op.depth_multiplier
    return op.groups


def grouped_weights(op: Layer) -> Int8Array:
    """[groups, channels of a group, K]."""
    q = op.weights()
    return q.reshape(_groups(op), -1, q.shape[1])


def grouped_inputs(op: Layer, x: Int8Array) -> Int8Array:
    """What each output position of one sample multiplies: [groups, positions, K]."""
    if op.kind == "fully_connected":
        return x[None]
    if op.axes is not None:
        stretched = transposed_patches(x[None], op.axes, op.z_x)
        return stretched.reshape(1, stretched.shape[1] * stretched.shape[2], -1)
    taken = patches(
        x[None],
        (op.filter_h, op.filter_w),
        (op.stride_h, op.stride_w),
        (op.dilation_h, op.dilation_w),
        "same" if op.padding == "SAME" else "valid",
        op.z_x,
    )
    _, out_h, out_w, *taps, channels = taken.shape
    groups = _groups(op)
    split = taken.reshape(out_h * out_w, taps[0] * taps[1], groups, channels // groups)
    return split.transpose(2, 0, 1, 3).reshape(groups, out_h * out_w, -1)


def by_channel(values: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """[groups, positions, channels of a group] to [positions, channels]."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)
