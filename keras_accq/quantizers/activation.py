"""Fake quantization of activations on an int8 grid, in `keras.ops`.

A tensor is stored as int8 x_q and stands for s·(x_q - z). Its grid is chosen for the N bits that
the layers reading it take: those see x_q clamped to [-2^(N-1), 2^(N-1) - 1], while everything else
(a residual Add) sees the whole of [-128, 127] on the same grid.
"""

from typing import Any

import keras
from keras import ops

from keras_accq.bounds import operand_range
from keras_accq.quantizers.straight_through import round_half_even


def fake_quantize(x: Any, scale: Any, zero_point: Any, bits: int) -> Any:
    """The values nearest to x that the stored integers of `bits` bits stand for.

    Args:
        x: float32, any shape.
        scale: s, float32 scalar.
        zero_point: z, an integer as float32 scalar.
        bits: 8 for the whole int8 range, fewer for a layer's clamped operand.

    Returns:
        s·(clip(round(x/s) + z, -2^(bits-1), 2^(bits-1) - 1) - z). The gradient is 1 inside the
        range and 0 outside.
    """
    smallest, largest = operand_range(bits)
    if keras.backend.backend() == "tensorflow":
        # Here, as the other backends need no TensorFlow.
        from keras_accq.quantizers import activation_tensorflow as written_out

        return written_out.fake_quantize(x, scale, smallest - zero_point, largest - zero_point)
    units = ops.clip(x / scale, smallest - zero_point, largest - zero_point)
    return round_half_even(units) * scale


def fake_quantize_average(x: Any, scale: Any, zero_point: Any, bits: int) -> Any:
    """`fake_quantize` for averages of values that are on the grid already.

    Averages of integers are often halfway between two. TFLite's AVERAGE_POOL_2D rounds those away
    from the stored 0, exactly; here they are sums of floats, so anything within 2^-10 of halfway
    is taken as halfway. Averages of n integers are nearer to it only for n > 512.

    Args, Returns: as `fake_quantize`.
    """
    smallest, largest = (float(end) for end in operand_range(bits))
    half = 0.5 + 2.0**-10
    if keras.backend.backend() == "tensorflow":
        from keras_accq.quantizers import activation_tensorflow as written_out

        return written_out.fake_quantize_average(x, scale, zero_point, smallest, largest, half)
    stored = ops.clip(x / scale + zero_point, smallest, largest)
    rounded = ops.sign(stored) * ops.floor(ops.abs(stored) + half)
    return (stored + ops.stop_gradient(rounded - stored) - zero_point) * scale
