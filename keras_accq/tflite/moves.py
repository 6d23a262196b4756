"""Layers that move or pick values, as plain TensorFlow operations on int8 tensors."""

from typing import Any

import keras
import tensorflow as tf

from keras_accq.tflite import emit


def moved(layer: Any, x: Any) -> Any:
    """The output of a layer that only moves or picks values.

    Args:
        layer: Of `Kind.PASS`, but no Dropout or Activation.
        x: TensorFlow's tensor, of fixed shape.
    """
    for types, move in _MOVES.items():
        if isinstance(layer, types):
            return move(layer, x)
    # Flatten, Reshape, and averages of one position.
    return tf.reshape(x, (x.shape[0], *layer.compute_output_shape(x.shape)[1:]))


def _max_pool(layer: Any, x: Any) -> Any:
    return emit.pool(tf.nn.max_pool2d, x, layer)


def _global_max(layer: Any, x: Any) -> Any:
    image = emit.as_image(x) if len(x.shape) == 3 else x
    pooled = tf.nn.max_pool2d(image, image.shape[1:3], 1, "VALID")
    return tf.reshape(pooled, (x.shape[0], *layer.compute_output_shape(x.shape)[1:]))


def _pairs(given: Any, axes: int) -> list[tuple[int, int]]:
    """Padding or cropping as a pair for each axis between batch and channels."""
    return [tuple(given)] if axes == 1 else [tuple(pair) for pair in given]


def _pad(layer: Any, x: Any) -> Any:
    return tf.pad(x, [(0, 0), *_pairs(layer.padding, len(x.shape) - 2), (0, 0)])


def _crop(layer: Any, x: Any) -> Any:
    pairs = [(0, 0), *_pairs(layer.cropping, len(x.shape) - 2), (0, 0)]
    kept = [size - sum(pair) for size, pair in zip(x.shape, pairs, strict=True)]
    return tf.slice(x, [first for first, _ in pairs], kept)


def _up(layer: Any, x: Any) -> Any:
    if isinstance(layer, keras.layers.UpSampling1D):
        image = emit.as_image(x)
        return emit.as_sequence(_nearest(image, (1, layer.size)))
    return _nearest(x, layer.size)


def _nearest(x: Any, factors: tuple[int, int]) -> Any:
    sizes = [size * factor for size, factor in zip(x.shape[1:3], factors, strict=True)]
    return tf.image.resize(x, sizes, "nearest")


def _permute(layer: Any, x: Any) -> Any:
    return tf.transpose(x, (0, *layer.dims))


_MOVES: dict[Any, Any] = {
    (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D): _max_pool,
    (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D): _global_max,
    (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D): _pad,
    (keras.layers.Cropping1D, keras.layers.Cropping2D): _crop,
    (keras.layers.UpSampling1D, keras.layers.UpSampling2D): _up,
    (keras.layers.Permute,): _permute,
}
