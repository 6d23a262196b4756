"""Plain TensorFlow operations that TFLiteConverter turns into exactly the int8 file we mean.

Most functions here step around one way in which the converter changes numbers without a word.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from keras_accq.tflite.fold import Kernel, canonical_scales


@dataclass(frozen=True)
class Grid:
    """The int8 grid of a tensor: stored x_q stands for scale·(x_q - zero_point).

    Attributes:
        scale: A float32 number, as the file will hold it.
        zero_point: In -128..127.
    """

    scale: float
    zero_point: int

    @classmethod
    def of(cls, scale: Any, zero_point: int) -> "Grid":
        """The grid nearest to (scale, zero_point) that survives the converter.

        The converter is given the real values of -128 and 127 in float32, and divides their
        distance by 255: the scale can change by an ulp, which this takes in advance.
        """
        z = int(zero_point)
        low, high = cls(float(scale), z).ends
        return cls(float(np.float32((high - low) / 255)), z)

    @property
    def ends(self) -> tuple[float, float]:
        """The real values of -128 and 127, float32 numbers."""
        scale = np.float32(self.scale)
        low, high = (np.float32(scale * np.float32(q - self.zero_point)) for q in (-128, 127))
        return float(low), float(high)


# A range from -128 to 127 that is no wider is widened by the converter to 1.25e-6.
LEAST_RANGE = 1e-6


def fake_quantize(x: Any, grid: Grid) -> Any:
    """x on an int8 grid.

    Always with 8 bits, whatever the width of the layers that read it: num_bits=3 or 4 fails to
    convert, and 5 to 7 silently become 8 bits of another scale.
    """
    low, high = grid.ends
    return tf.quantization.fake_quant_with_min_max_args(x, min=low, max=high, num_bits=8)


def _weights(kernel: Kernel) -> Any:
    """q·s, which the converter rounds back to q: float32 in q's shape."""
    scales = canonical_scales(kernel.scales)
    limits = scales * np.float32(127)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel.q.astype(np.float32) * scales, -limits, limits, num_bits=8, narrow_range=True
    )


def conv2d(
    x: Any, kernel: Kernel, *, strides: tuple[int, int], padding: str, dilation: tuple[int, int]
) -> Any:
    """Convolution and bias; with groups where the kernel has fewer input channels than x."""
    y = tf.nn.conv2d(x, _weights(kernel), strides, padding.upper(), dilations=dilation)
    return y + kernel.bias


def depthwise_conv2d(
    x: Any, kernel: Kernel, *, strides: tuple[int, int], padding: str, dilation: tuple[int, int]
) -> Any:
    """Depthwise convolution and bias; q is int8 [kh, kw, 1, channels]."""
    height, width, _, channels = kernel.q.shape
    inputs = x.shape[3]
    # The per-channel fake quantization works on the last axis, so it comes before this reshape.
    weights = tf.reshape(_weights(kernel), (height, width, inputs, channels // inputs))
    y = tf.nn.depthwise_conv2d(x, weights, (1, *strides, 1), padding.upper(), dilations=dilation)
    return y + kernel.bias


def transposed_conv2d(
    x: Any,
    kernel: Kernel,
    *,
    strides: tuple[int, int],
    padding: str,
    size: tuple[int, int],
    mark: float,
) -> Any:
    """Transposed convolution with stand-ins for scales and bias: `stand_ins` puts in the real ones.

    The converter moves the weights' channels to the front ("tfl.transpose") and then fails on
    scales per channel ("mismatched quantized axes"), so it is given one scale, 1, with which it
    keeps the integers. It fuses a ReLU only behind a bias, so it is given one, which also marks the
    layer.

    Args:
        x: The input.
        kernel: q is int8 [kh, kw, in, out].
        strides: By height and width.
        padding: "SAME" or "VALID".
        size: Height and width of the output.
        mark: The bias of all channels, in real units; not 0.
    """
    q = kernel.q.swapaxes(2, 3).astype(np.float32)
    weights = tf.quantization.fake_quant_with_min_max_args(
        q, min=-127, max=127, num_bits=8, narrow_range=True
    )
    shape = (x.shape[0], *size, kernel.q.shape[3])
    y = tf.nn.conv2d_transpose(x, weights, shape, strides, padding)
    return y + np.full(kernel.q.shape[3], mark, np.float32)


def dense(x: Any, kernel: Kernel) -> Any:
    """Matrix product and bias as a 1x1 convolution; q is int8 [K, channels].

    The converter refuses per-channel scales in a matrix product; this form keeps them, and
    `rewrite` fuses it into one AccqFullyConnected.
    """
    k, channels = kernel.q.shape
    rows = int(np.prod(x.shape[:-1]))
    # Reshaped before it is fake-quantized: after, the converter loses the axis of the scales.
    weights = _weights(replace(kernel, q=kernel.q.reshape(1, 1, k, channels)))
    y = tf.nn.conv2d(tf.reshape(x, (rows, 1, 1, k)), weights, 1, "VALID") + kernel.bias
    return tf.reshape(y, (*x.shape[:-1], channels))


def leaky_relu(x: Any, slope: Any, given: Grid, grid: Grid) -> Any:
    """max(x, 0) + slope·min(x, 0), of which one term is always 0.

    LEAKY_RELU's factors have 8 bits in XNNPACK, and PRELU comes out of the converter in float.
    Here the product is rounded to the grid of the sum, so that adding 0 changes it no more.

    Args:
        x: On an int8 grid.
        slope: float32 of some shape that broadcasts to an example's; a multiple of 1/127 of its
            largest magnitude.
        given: The grid of x.
        grid: Of the result.
    """
    largest = max(float(np.abs(slope).max()), 1e-6)
    factor = tf.quantization.fake_quant_with_min_max_args(
        tf.constant(slope), min=-largest, max=largest, num_bits=8, narrow_range=True
    )
    positive = fake_quantize(tf.nn.relu(x), given)
    return positive + fake_quantize(tf.minimum(x, 0.0) * factor, grid)


def as_image(x: Any) -> Any:
    """A sequence [batch, length, channels] as an image of height 1."""
    return tf.reshape(x, (x.shape[0], 1, *x.shape[1:]))


def as_sequence(x: Any) -> Any:
    """An image of height 1 as a sequence."""
    return tf.reshape(x, (x.shape[0], *x.shape[2:]))


def pool(function: Any, x: Any, layer: Any) -> Any:
    """`tf.nn.max_pool2d` or `tf.nn.avg_pool2d` as a Keras layer of one or two axes calls it."""
    padding = layer.padding.upper()
    if len(x.shape) == 4:
        return function(x, layer.pool_size, layer.strides, padding)
    size, stride = (int(np.ravel(value)[0]) for value in (layer.pool_size, layer.strides))
    return as_sequence(function(as_image(x), (1, size), (1, stride), padding))
