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
        op: An undilated op with VALID padding, or a fully-connected one.
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
