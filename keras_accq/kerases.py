"""Which Keras a model belongs to. Imports neither."""

from typing import Any


def is_tf_keras(thing: Any) -> bool:
    """Whether it is a model or layer of tf_keras (Keras 2)."""
    return any(base.__module__.split(".")[0] == "tf_keras" for base in type(thing).__mro__)


def as_keras3(qmodel: Any) -> Any:
    """A quantized model of tf_keras as the same of Keras 3; anything else as it is.

    Raises:
        ImportError: The packages of the extra `tfmot` are missing.
        UnsupportedModelError: A tf_keras model that is not quantized.
    """
    if not is_tf_keras(qmodel):
        return qmodel
    from keras_accq.tfmot.to_keras3 import quantized_model

    return quantized_model(qmodel)
