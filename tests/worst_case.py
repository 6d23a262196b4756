"""Inputs that drive a channel's sum to its bound."""

import numpy as np


def worst_case_patch(op, channel, *, sign=1):
    """The operands, int8 [K] in file order, with which a channel's sum is largest.

    Args:
        op: A `QuantizedOp` that can be taken.
        channel: The output channel.
        sign: 1 for the largest sum, -1 for the smallest.
    """
    q = sign * op.weights()[channel].astype(np.int64)
    return np.where(q > 0, max(op.in_max, 0), min(op.in_min, 0)).astype(np.int8)


def worst_case_input(op, channel, shape, *, sign=1):
    """An input whose first output position sees `worst_case_patch`; zero elsewhere.

    Args:
        op: An undilated convolution with VALID padding, or a fully-connected layer.
        channel: The output channel.
        shape: Of the whole input, [1, h, w, channels] or [rows, features].
        sign: As for `worst_case_patch`.
    """
    patch = worst_case_patch(op, channel, sign=sign)
    x = np.zeros(shape, np.int8)
    if op.kind == "fully_connected":
        x[0] = patch
        return x
    window = x[0, : op.filter_h, : op.filter_w]
    if op.kind == "depthwise_conv2d":
        window[..., channel // op.depth_multiplier] = patch.reshape(op.filter_h, op.filter_w)
        return x
    cin = shape[3] // op.groups
    first = channel // (op.channels // op.groups) * cin
    window[..., first : first + cin] = patch.reshape(op.filter_h, op.filter_w, cin)
    return x


def worst_case_of_phase(op, channel, phase, *, sign=1):
    """An input of a transposed convolution in which one output sums the phase's worst case.

    Args:
        op: A transposed convolution that can be taken, with an output that meets all of the
            phase's taps: enough inputs, and VALID padding.
        channel: The output channel.
        phase: One of `op.phases()`.
        sign: 1 for the largest sum, -1 for the smallest.
    """
    rows, columns = op.axes
    cin = op.weights().shape[1] // (rows.kernel * columns.kernel)
    x = np.full((1, rows.size, columns.size, cin), np.clip(0, op.in_min, op.in_max), np.int8)
    # The phase is a convolution with its taps in this order: its first window sees the first input.
    patch = worst_case_patch(op, channel, sign=sign)[phase.places]
    taps = patch.reshape(-1, phase.row // cin, cin)
    x[0, : taps.shape[0], : taps.shape[1]] = taps
    return x
