"""Rounding that gradients pass through unchanged, in `keras.ops`.

Written as x + stop_gradient(r(x) - x). In float32 the value is exactly r(x): r(x) - x is the
fractional part of x or its complement, which are representable, and so is their sum with x.
"""

from typing import Any

from keras import ops


def truncate(x: Any) -> Any:
    """`x` rounded toward zero; the gradient is 1."""
    return x + ops.stop_gradient(ops.trunc(x) - x)


def round_half_even(x: Any) -> Any:
    """`x` rounded to the nearest integer, ties to even; the gradient is 1."""
    return x + ops.stop_gradient(ops.round(x) - x)
