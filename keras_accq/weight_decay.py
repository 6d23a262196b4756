"""Keeping weight decay away from scales, ranges, norms and biases."""

from typing import Any

import keras

from keras_accq.kerases import is_tf_keras, name_of
from keras_accq.layers import ActivationQuantizer, QuantizedWeights


def exclude_from_weight_decay(optimizer: Any, model: keras.Model) -> None:
    """Keeps an optimizer's weight decay off a quantized model's scales, ranges, norms and biases.

    They are logarithms and offsets: decay would pull scales to 1 instead of making weights small
    (A2Q, arXiv 2308.13504, decays none of them). Call it before the optimizer is built, which is
    before training; it replaces earlier exclusions by variable.

    Args:
        optimizer: An optimizer of the model's Keras.
        model: A model from `accq.quantize`.

    Raises:
        TypeError: The optimizer is one of the other Keras.
        ValueError: The optimizer is built already, or the model has no quantized layers.
    """
    weights: tuple[type, ...] = (QuantizedWeights,)
    activations: tuple[type, ...] = (ActivationQuantizer,)
    if is_tf_keras(model):
        from keras_accq.tfmot import config
        from keras_accq.tfmot import layers as of_tf_keras

        weights = (config.AccumulatorQuantizeWrapper,)
        activations = (of_tf_keras.ActivationQuantizer,)
    layers: list[Any] = [
        layer for layer in model.layers if isinstance(layer, (*weights, *activations))
    ]
    if not any(isinstance(layer, weights) for layer in layers):
        raise ValueError(
            f"model {model.name!r} has no quantized layers; expected one from accq.quantize"
        )
    if is_tf_keras(optimizer) != is_tf_keras(model):
        raise TypeError(
            f"optimizer: expected one of {name_of(model)}, as model {model.name!r} is, received "
            f"{type(optimizer).__name__} of {name_of(optimizer)}"
        )
    if getattr(optimizer, "_built" if is_tf_keras(optimizer) else "built", False):
        # Keras means to refuse this too, but asks for an attribute that it has renamed.
        raise ValueError(
            "exclude_from_weight_decay must be called before the optimizer is built; make a new "
            "optimizer, or call it before training"
        )
    optimizer.exclude_from_weight_decay(
        var_list=[variable for layer in layers for variable in layer.parameters_without_decay()]
    )
