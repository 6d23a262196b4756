"""A tf_keras model, float or quantized, as the same model of Keras 3: its layers and weights.

Widths, scales and integers are found on Keras 3 models, and files are written from them, so both
Kerases have one implementation of either.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.build import QUANTIZED
from keras_accq.graph.supported import FLOAT_LAYERS
from keras_accq.layers import ActivationQuantizer, QuantizedPReLU
from keras_accq.quantizers.round import Round
from keras_accq.tfmot import layers as own
from keras_accq.tfmot.config import AccumulatorQuantizeWrapper
from keras_accq.tfmot.packages import tf_keras

_RENAMED = {"alpha": "negative_slope"}
# Other names for what Keras 3 has a function for.
_ACTIVATIONS = {"keras_accq>hard_sigmoid": "hard_sigmoid", "swish": "silu"}
_KERAS3_ONLY = ("LayerNormalization", "MultiHeadAttention")
_FLOAT = {cls.__name__ for cls in FLOAT_LAYERS}
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "__operators__.add": lambda x, y: x + y,
    "math.add": lambda x, y: x + y,
    "math.subtract": lambda x, y: x - y,
    "math.multiply": lambda x, y: x * y,
    "math.truediv": lambda x, y: x / y,
    "math.divide": lambda x, y: x / y,
    "nn.relu": lambda features: keras.layers.ReLU()(features),
    "nn.relu6": lambda features: keras.layers.ReLU(6.0)(features),
}


def float_model(model: Any) -> keras.Model:
    """A float tf_keras model in Keras 3.

    Raises:
        UnsupportedModelError: Layers that Keras 3 or `accq.quantize` does not have, all of them
            listed; layers of both Kerases; or not a built Sequential or Functional model.
    """
    if any(isinstance(layer, AccumulatorQuantizeWrapper) for layer in layers_of(model)):
        raise UnsupportedModelError(
            f"model {model.name!r} is quantized already; pass the float model"
        )
    found = _problems(model, "")
    if found:
        listed = "\n".join(f"  {name}: {reason}" for name, reason in found)
        raise UnsupportedModelError(f"model {model.name!r} can not be quantized:\n{listed}")
    return _rebuilt(model)


def quantized_model(qmodel: Any) -> keras.Model:
    """A quantized tf_keras model in Keras 3, with the same integers, scales and ranges.

    Where the config preserves sparsity, the layers hold their integers by the method "round".

    Raises:
        UnsupportedModelError: Not a model from `accq.quantize` or `quantize_apply` with an
            `AccumulatorQuantizeScheme`.
    """
    if not any(isinstance(layer, AccumulatorQuantizeWrapper) for layer in layers_of(qmodel)):
        raise UnsupportedModelError(
            f"model {qmodel.name!r} holds no quantized layer; expected what accq.quantize returns, "
            "or tfmot.quantization.keras.quantize_apply with scheme=AccumulatorQuantizeScheme()"
        )
    return _rebuilt(qmodel)


def layers_of(model: Any) -> list[Any]:
    """The layers of a tf_keras model."""
    if not isinstance(model, tf_keras.Model):
        raise TypeError(f"expected a tf_keras model, received {model!r}")
    if not (getattr(model, "_is_graph_network", False) and hasattr(model, "_nodes_by_depth")):
        raise UnsupportedModelError(
            f"model {model.name!r}: expected a built Sequential or a Functional model, received "
            f"{type(model).__name__} whose layers can not be listed; build it with an input shape"
        )
    return list(model.layers)


def _nodes(model: Any) -> list[Any]:
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _problems(model: Any, prefix: str) -> list[tuple[str, str]]:
    found = []
    for layer in layers_of(model):
        name = f"{prefix}{layer.name}"
        if isinstance(layer, tf_keras.Model):
            found += _problems(layer, f"{name}-")
            continue
        reason = _problem(layer)
        if reason is not None:
            found.append((name, reason))
    return found


def _problem(layer: Any) -> str | None:
    name = type(layer).__name__
    if name == "TFOpLambda":
        symbol = layer.get_config()["function"]
        if symbol in _OPERATIONS:
            return None
        return (
            f"operation tf.{symbol}; expected a layer of tf_keras (one of Keras 3 in a tf_keras "
            "model leaves such operations: use one Keras)"
        )
    if name != "InputLayer" and (
        name not in _FLOAT or not isinstance(layer, getattr(tf_keras.layers, name, ()))
    ):
        if name.startswith(("PruneLowMagnitude", "ClusterWeights")):
            return f"{name}; strip it first (tfmot.sparsity.keras.strip_pruning)"
        if name in _KERAS3_ONLY:
            return f"{name} is not supported in tf_keras; expected a model of Keras 3"
        if name == "QuantizeAnnotate":
            return f"{name}, which is for tfmot's quantize_apply; pass the float model"
        if name in ("QuantizeLayer", "QuantizeWrapper", "QuantizeWrapperV2"):
            return f"{name}, which tfmot's own scheme made; pass the float model"
        base = next((b.__name__ for b in type(layer).__mro__ if b.__name__ in _FLOAT), None)
        return f"{name} is not supported" + (f" (a subclass of {base})" if base else "")
    activation = layer.get_config().get("activation")
    if activation == "hard_sigmoid":
        return (
            "activation 'hard_sigmoid', which in tf_keras is clip(x / 5 + 1 / 2, 0, 1); expected "
            "relu6(x + 3) / 6"
        )
    if activation is not None and not _known(activation):
        return f"activation {activation!r} is not known to Keras 3; expected a Keras activation"
    return None


def _known(activation: Any) -> bool:
    name = _ACTIVATIONS.get(activation, activation) if isinstance(activation, str) else None
    try:
        return name is not None and keras.activations.get(name) is not None
    except ValueError:
        return False


def _rebuilt(model: Any) -> keras.Model:
    tensors: dict[int, Any] = {}
    layers: dict[int, Any] = {}
    for node in _nodes(model):
        if node.is_input:
            (made,) = tf.nest.flatten(node.outputs)
            tensors[id(made)] = keras.Input(
                batch_shape=tuple(made.shape), dtype=made.dtype.name, name=node.layer.name
            )
            continue
        outputs = _called(node, tensors, layers)
        for old, new in zip(
            tf.nest.flatten(node.outputs), keras.tree.flatten(outputs), strict=True
        ):
            tensors[id(old)] = new
    inputs, outputs = (
        tf.nest.map_structure(lambda tensor: tensors[id(tensor)], struct)
        for struct in (model._nested_inputs, model._nested_outputs)
    )
    new = keras.Model(inputs, outputs, name=model.name)
    for old, layer in _pairs(model, layers):
        _copy_weights(old, layer)
    return new


def _pairs(model: Any, layers: dict[int, Any]) -> list[tuple[Any, Any]]:
    return [(layer, layers[id(layer)]) for layer in model.layers if id(layer) in layers]


def _called(node: Any, tensors: dict[int, Any], layers: dict[int, Any]) -> Any:
    args, kwargs = tf.nest.map_structure(
        lambda value: tensors.get(id(value), value), (node.call_args, node.call_kwargs)
    )
    kwargs = {key: value for key, value in kwargs.items() if key in ("narrow", "requantize", "y")}
    layer = node.layer
    if type(layer).__name__ == "TFOpLambda":
        return _OPERATIONS[layer.get_config()["function"]](*args, **kwargs)
    if id(layer) not in layers:
        layers[id(layer)] = _rebuilt(layer) if isinstance(layer, tf_keras.Model) else _new(layer)
    return layers[id(layer)](*args, **kwargs)


def _new(layer: Any) -> Any:
    if isinstance(layer, own.ActivationQuantizer):
        return ActivationQuantizer.from_config(config_for(ActivationQuantizer, layer))
    if isinstance(layer, own.QuantizedPReLU):
        return QuantizedPReLU.from_config(config_for(QuantizedPReLU, layer))
    if not isinstance(layer, AccumulatorQuantizeWrapper):
        cls = getattr(keras.layers, type(layer).__name__)
        config = config_for(cls, layer)
        if cls is keras.layers.Normalization:
            config.update(mean=np.array(layer.mean), variance=np.array(layer.variance))
        return cls.from_config(config)
    plain = getattr(keras.layers, type(layer.layer).__name__)
    chosen = layer.quantize_config
    operands = layer.weight_quantizer.operands
    return QUANTIZED[plain].from_config(
        {
            **config_for(plain, layer.layer),
            "acc_bits": operands.acc_bits,
            "weight_bits": operands.weight_bits,
            "input_bits": operands.input_bits,
            "tile": operands.tile,
            "method": Round() if chosen.preserve_sparsity else chosen.method,
            "widths_from": chosen.widths_from,
            "power_of_two": chosen.power_of_two,
        }
    )


def config_for(cls: Any, layer: Any) -> dict[str, Any]:
    """A layer's config with what a class of Keras 3 knows of it.

    Initializers, regularizers and constraints are left out: they matter in training only.
    """
    known = {"name", "trainable", "dtype"}
    for base in cls.__mro__:
        if base not in (keras.layers.Layer, object) and "__init__" in vars(base):
            known |= set(inspect.signature(base.__init__).parameters)
    config = {}
    for key, value in layer.get_config().items():
        name = _RENAMED.get(key, key)
        if name not in known or name.endswith(("_initializer", "_regularizer", "_constraint")):
            continue
        if name == "dtype" and isinstance(value, dict):
            value = value["config"]["name"]
        if name == "activation":
            value = _ACTIVATIONS.get(value, value)
        if name == "axis" and isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        config[name] = value.item() if isinstance(value, np.ndarray) else value
    return config


def _copy_weights(old: Any, new: Any) -> None:
    if isinstance(old, tf_keras.Model):
        return
    if not isinstance(old, AccumulatorQuantizeWrapper):
        if old.weights and not isinstance(new, keras.layers.Normalization):
            new.set_weights([np.array(value) for value in old.get_weights()])
        return
    quantizer = old.weight_quantizer
    if quantizer.config.preserve_sparsity:
        q, scales = (np.array(value) for value in quantizer.integers(old.variable, old.parameters))
        layout = quantizer.layout
        new.set_integer_weights(layout.from_matrix(np.rint(q).astype(np.int8)), scales)
    else:
        new._variable.assign(old.variable.numpy())
        for name, variable in new._parameters.items():
            variable.assign(old.parameters[name].numpy())
    if new.bias is not None:
        new.bias.assign(old.layer.bias.numpy())
