"""Fake quantization on Keras's TensorFlow backend, with its gradients written out.

TensorFlow runs operation by operation, and differentiates rounding and clipping into many that read
and write the whole tensor. Most of their time is in SelectV2, which `tf.where` is: on a CPU it
takes about four times as long as Select.

Values are those of `activation`, but for the sign of 0, and so are the gradients of x and of the
scale. Zero points have none.
"""

from typing import Any

import tensorflow as tf


@tf.custom_gradient
def fake_quantize(x: Any, scale: Any, low: Any, high: Any) -> Any:
    """See `activation.fake_quantize`.

    Args:
        x: float32, any shape.
        scale: float32 scalar.
        low: What x/s is clipped to at least, float32 scalar.
        high: And at most.
    """
    units = x / scale
    integers = tf.round(tf.clip_by_value(units, low, high))

    def gradients(upstream: Any) -> tuple[Any, ...]:
        to_x = _inside(units, low, high, upstream)
        return to_x, _to_scale(upstream, integers, to_x, units), None, None

    return integers * scale, gradients


@tf.custom_gradient
def fake_quantize_average(
    x: Any, scale: Any, zero_point: Any, smallest: Any, largest: Any, half: Any
) -> Any:
    """See `activation.fake_quantize_average`.

    Args:
        x: float32, any shape.
        scale: float32 scalar.
        zero_point: float32 scalar.
        smallest: Of the stored integers, float32 scalar.
        largest: Likewise.
        half: What is added to magnitudes before they are rounded down, float32 scalar.
    """
    units = x / scale
    stored = units + zero_point
    clipped = tf.clip_by_value(stored, smallest, largest)
    integers = tf.sign(clipped) * tf.floor(tf.abs(clipped) + half) - zero_point

    def gradients(upstream: Any) -> tuple[Any, ...]:
        to_x = _inside(stored, smallest, largest, upstream)
        return to_x, _to_scale(upstream, integers, to_x, units), None, None, None, None

    return integers * scale, gradients


def _inside(x: Any, low: Any, high: Any, upstream: Any) -> Any:
    inside = tf.logical_and(x >= low, x <= high)
    return tf.raw_ops.Select(condition=inside, x=upstream, y=tf.zeros_like(upstream))


def _to_scale(upstream: Any, integers: Any, to_x: Any, units: Any) -> Any:
    # Where nothing trains the scale, a graph leaves this out.
    return tf.reduce_sum(upstream * integers) - tf.reduce_sum(to_x * units)
