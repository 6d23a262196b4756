"""int8 grids for tensors, in NumPy or `keras.ops`.

A tensor is stored as int8 x_q and stands for s·(x_q - z). Fixed point is the same with s = 2^-FL:
a signed number of B bits has one for its sign, IL before and FL after the binary point,
B = 1 + IL + FL, and z = 0; where nothing is negative the sign's bit is spent on FL instead, and
the stored integer is lower by 2^(B-1), as everywhere.
"""

from typing import Any

import numpy as np

from keras_accq.bounds import operand_range

# A range that ends this little (in octaves) beyond a power of two ends at it: logarithms are not
# exact.
OCTAVE_TOLERANCE = 1e-5


def grid(
    low: Any,
    high: Any,
    bits: int,
    power_of_two: bool = False,
    xp: Any = np,
    symmetric: bool = False,
) -> tuple[Any, Any]:
    """Scale and zero point of the N-bit grid over [low, high], which is widened to hold 0.

    Args:
        low: Scalar, smallest real value.
        high: Scalar, largest real value.
        bits: N, 2..8.
        power_of_two: Fixed point: FL = N - 1 - ceil(log2 max|v|), or N - ceil(log2 max v) where
            nothing is negative. A value of 2^IL itself saturates, one step below.
        xp: `numpy` for float64, or `keras.ops` for float32.
        symmetric: Whether the range is widened further, so that z is 0.

    Returns:
        s > 0 and z, an integer in [-2^(N-1), 2^(N-1) - 1], as float scalars. Without negative
        values z is -2^(N-1), or 0 if symmetric.
    """
    smallest, largest = operand_range(bits)
    low, high = xp.minimum(low, 0.0), xp.maximum(high, 0.0)
    if symmetric:
        step = xp.maximum(low / smallest, high / largest)
        low, high = step * smallest, step * largest
    width = high - low
    # A tensor of zeros: any grid holds it. Nor may the scale be flushed to zero.
    usable = width > 2.0**-90
    if not power_of_two:
        scale = xp.where(usable, width, 1.0) / (largest - smallest)
        zero_point = xp.clip(xp.round(smallest - low / scale), smallest, largest)
        return scale, 0.0 * zero_point if symmetric else zero_point
    signed = low < 0
    steps = xp.where(signed, -1.0 * smallest, -2.0 * smallest)
    step = xp.maximum(-low, high) / steps
    exponent = xp.ceil(xp.log2(xp.where(usable, step, 2.0**-bits)) - OCTAVE_TOLERANCE)
    return xp.exp2(exponent), xp.where(signed, 0.0, 0.0 if symmetric else float(smallest))
