"""`accq.quantize` and `accq.strip` of tf_keras models."""

from typing import Any

from keras_accq.quantize import quantize
from keras_accq.strip import strip
from keras_accq.tfmot.to_keras3 import float_model, quantized_model
from keras_accq.tfmot.to_tf_keras import tf_keras_model


def quantize_tf_keras(model: Any, *args: Any, **kwargs: Any) -> Any:
    """`accq.quantize` of a tf_keras model: the Keras 3 model's widths, scales and integers."""
    return tf_keras_model(quantize(float_model(model), *args, **kwargs), model)


def strip_tf_keras(qmodel: Any) -> Any:
    """`accq.strip` of a quantized tf_keras model."""
    return tf_keras_model(strip(quantized_model(qmodel)), qmodel)
