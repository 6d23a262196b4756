"""A Keras 3 model, quantized or stripped, as the same model of tf_keras."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_accq.graph.nodes import read
from keras_accq.layers import ActivationQuantizer, QuantizedPReLU, QuantizedWeights
from keras_accq.quantizers.max_scale import MaxScale
from keras_accq.tfmot import layers as own
from keras_accq.tfmot.config import AccumulatorQuantizeConfig, AccumulatorQuantizeWrapper
from keras_accq.tfmot.packages import tf_keras

_RENAMED = {"negative_slope": "alpha"}
_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")


def tf_keras_model(model: keras.Model, original: Any, masks: Mapping[str, Any] = {}) -> Any:
    """The tf_keras model with the layers and weights of a Keras 3 model.

    Args:
        model: From `accq.quantize` or `accq.strip`.
        original: The tf_keras model it was made of, for the initializers, regularizers and
            constraints of layers of the same names.
        masks: Where weights that are zero stay so: 1 for others, by layer name, in the kernel's
            shape.
    """
    graph = read(model)
    olds = {layer.name: layer for layer in original.layers}
    olds.update(
        (layer.layer.name, layer.layer)
        for layer in original.layers
        if isinstance(layer, AccumulatorQuantizeWrapper)
    )
    tensors: dict[int, Any] = {}
    for node in graph.inputs:
        tensor = graph.tensors[node.output]
        tensors[node.output] = tf_keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=node.name
        )
    layers: dict[int, tuple[Any, Any]] = {}
    for node in graph.nodes:
        if id(node.layer) not in layers:
            new = _new(node.layer, olds.get(node.name), node.name in masks)
            layers[id(node.layer)] = node.layer, new
        tensors[node.output] = node.call(layers[id(node.layer)][1], tensors)
    inputs, outputs = (
        keras.tree.map_structure(lambda tensor: tensors[id(tensor)], struct)
        for struct in (graph.inputs_struct, graph.outputs_struct)
    )
    made = tf_keras.Model(inputs, outputs, name=model.name)
    for old, new in layers.values():
        _copy_weights(old, new, masks.get(old.name))
    return made


def _new(layer: Any, original: Any, preserve_sparsity: bool) -> Any:
    if isinstance(layer, ActivationQuantizer):
        return own.ActivationQuantizer.from_config(_config(own.ActivationQuantizer, layer, None))
    if isinstance(layer, QuantizedPReLU):
        return own.QuantizedPReLU.from_config(_config(own.QuantizedPReLU, layer, original))
    if not isinstance(layer, QuantizedWeights):
        cls = getattr(tf_keras.layers, type(layer).__name__)
        return cls.from_config(_config(cls, layer, original))
    name = next(b.__name__ for b in type(layer).__mro__ if b.__module__.startswith("keras.src"))
    cls = getattr(tf_keras.layers, name)
    operands = layer.operands
    excluded = operands.acc_bits is None
    config = AccumulatorQuantizeConfig(
        16 if operands.acc_bits is None else operands.acc_bits,
        operands.weight_bits,
        operands.input_bits,
        operands.tile,
        layer.method.name,
        excluded,
        preserve_sparsity,
        layer.method.get_config(),
        layer.widths_from,
        layer.power_of_two,
    )
    assert isinstance(layer.method, MaxScale) == excluded
    return AccumulatorQuantizeWrapper(cls.from_config(_config(cls, layer, original)), config)


def _config(cls: Any, layer: Any, original: Any) -> dict[str, Any]:
    """A Keras 3 layer's config with what a class of tf_keras knows of it."""
    known = {"name", "trainable", "dtype"}
    for base in cls.__mro__:
        if base not in (tf_keras.layers.Layer, object) and "__init__" in vars(base):
            known |= set(inspect.signature(base.__init__).parameters)
    config = {}
    for key, value in layer.get_config().items():
        name = key if key in known else _RENAMED.get(key, key)
        if name not in known or name.endswith(_TRAINING_ONLY):
            continue
        if name == "dtype" and isinstance(value, dict):
            value = value["config"]["name"]
        if name == "activation" and value == "hard_sigmoid":
            value = own.hard_sigmoid
        config[name] = value
    if type(original) is cls:
        config.update(
            (key, value)
            for key, value in original.get_config().items()
            if key.endswith(_TRAINING_ONLY)
        )
    return config


def _copy_weights(old: Any, new: Any, mask: Any) -> None:
    if not isinstance(new, AccumulatorQuantizeWrapper):
        if old.weights:
            new.set_weights([np.array(value) for value in old.get_weights()])
        return
    kernel = np.array(old._variable)
    if mask is not None:
        kernel = kernel * mask
        new.parameters["mask"].assign(mask)
    new.variable.assign(kernel)
    for name, variable in old._parameters.items():
        new.parameters[name].assign(np.array(variable))
    if old.bias is not None:
        new.layer.bias.assign(np.array(old.bias))
