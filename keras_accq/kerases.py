"""Which Keras a model belongs to. Imports neither."""

from typing import Any


def is_tf_keras(thing: Any) -> bool:
    """Whether it is a model, layer, tensor or optimizer of tf_keras (Keras 2)."""
    return any(base.__module__.split(".")[0] == "tf_keras" for base in type(thing).__mro__)


def name_of(thing: Any) -> str:
    """What messages call the Keras of a model, layer, tensor or optimizer."""
    return "tf_keras" if is_tf_keras(thing) else "Keras 3"


def check_same_keras(layer: Any, inputs: Any) -> None:
    """Refuses to make a layer part of a model of the other Keras.

    Args:
        layer: Of either Keras.
        inputs: What it is called with: values, or a symbolic tensor of either Keras.

    Raises:
        TypeError: The symbolic tensor is one of the other Keras.
    """
    symbolic = type(inputs).__name__ == "KerasTensor"
    if symbolic and is_tf_keras(inputs) != is_tf_keras(layer):
        raise TypeError(
            f"{layer.name}: a layer of {name_of(layer)} can not be part of a model of "
            f"{name_of(inputs)}; build the model in one Keras, then quantize it"
        )


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
