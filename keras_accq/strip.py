"""From a quantized model back to plain Keras layers."""

from typing import Any

import keras
import numpy as np

from keras_accq.graph.nodes import Node, read
from keras_accq.layers import (
    ActivationQuantizer,
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    QuantizedWeights,
)
from keras_accq.layers.kernels import from_matrix, to_matrix

_PLAIN: dict[type, Any] = {
    QuantizedConv2D: keras.layers.Conv2D,
    QuantizedConv2DTranspose: keras.layers.Conv2DTranspose,
    QuantizedDepthwiseConv2D: keras.layers.DepthwiseConv2D,
    QuantizedDense: keras.layers.Dense,
}
_OWN_SETTINGS = (
    "acc_bits",
    "weight_bits",
    "input_bits",
    "tile",
    "method",
    "widths_from",
    "power_of_two",
)


def strip(qmodel: keras.Model) -> keras.Model:
    """A plain float Keras model with the quantized weights, s·q, and no layers of keras_accq.

    Activations are no longer rounded, so outputs differ a little. Quantized again with the same
    widths and scales, the weights stay what they are.

    Args:
        qmodel: A model from `accq.quantize`, which is left as it is.

    Raises:
        UnsupportedModelError: Not a Functional model.
        TypeError: Not a Keras model.
        ValueError: The model has no quantized layers, or weights that are not finite.
    """
    graph = read(qmodel)
    if not any(isinstance(node.layer, QuantizedWeights) for node in graph.nodes):
        raise ValueError(
            f"model {qmodel.name!r} has no quantized layers; expected one from accq.quantize"
        )
    tensors: dict[int, Any] = {}
    for node in graph.inputs:
        tensor = graph.tensors[node.output]
        tensors[node.output] = keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=node.name
        )
    inputs = _mapped(graph.inputs_struct, tensors)
    for node in graph.nodes:
        if isinstance(node.layer, ActivationQuantizer):
            tensors[node.output] = tensors[node.inputs[0]]
        else:
            tensors[node.output] = _rebuilt(node, tensors)
    return keras.Model(inputs, _mapped(graph.outputs_struct, tensors), name=qmodel.name)


def _rebuilt(node: Node, tensors: dict[int, Any]) -> Any:
    config = node.layer.get_config()
    if not isinstance(node.layer, QuantizedWeights):
        layer = type(node.layer).from_config(config)
        output = node.call(layer, tensors)
        layer.set_weights([np.array(value) for value in node.layer.get_weights()])
        return output
    for key in _OWN_SETTINGS:
        del config[key]
    layer = _PLAIN[type(node.layer)].from_config(config)
    output = node.call(layer, tensors)
    integers, scale = node.layer.quantized_kernel()
    layer.kernel.assign(from_matrix(layer, to_matrix(layer, integers).astype(np.float32) * scale))
    if layer.bias is not None:
        layer.bias.assign(node.layer.bias)
    return output


def _mapped(struct: Any, tensors: dict[int, Any]) -> Any:
    return keras.tree.map_structure(lambda tensor: tensors[id(tensor)], struct)
