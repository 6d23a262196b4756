"""From a quantized model back to plain Keras layers."""

from typing import Any

import keras
import numpy as np

from keras_accq.graph.copied import Copies, Tensors, rebuilt
from keras_accq.graph.nodes import Node, read
from keras_accq.kerases import is_tf_keras
from keras_accq.layers import (
    ActivationQuantizer,
    QuantizedConv1D,
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    QuantizedPReLU,
    QuantizedWeights,
)
from keras_accq.layers.kernels import from_matrix, to_matrix

_PLAIN: dict[type, Any] = {
    QuantizedConv1D: keras.layers.Conv1D,
    QuantizedConv2D: keras.layers.Conv2D,
    QuantizedConv2DTranspose: keras.layers.Conv2DTranspose,
    QuantizedDepthwiseConv2D: keras.layers.DepthwiseConv2D,
    QuantizedDense: keras.layers.Dense,
    QuantizedPReLU: keras.layers.PReLU,
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

    Only attention's products and softmax, which Keras has no layers for, stay as they are.
    Activations are no longer rounded, so outputs differ a little. Quantized again with the same
    widths and scales, the weights stay what they are.

    Args:
        qmodel: A model from `accq.quantize`, which is left as it is.

    Raises:
        UnsupportedModelError: Not a Functional model.
        TypeError: Not a Keras model.
        ValueError: The model has no quantized layers, or weights that are not finite.
    """
    if is_tf_keras(qmodel):
        from keras_accq.tfmot.front import strip_tf_keras

        return strip_tf_keras(qmodel)
    graph = read(qmodel)
    if not any(isinstance(node.layer, QuantizedWeights) for node in graph.nodes):
        raise ValueError(
            f"model {qmodel.name!r} has no quantized layers; expected one from accq.quantize"
        )
    copies = Copies()
    plain: dict[int, Any] = {}

    def visit(node: Node, tensors: Tensors) -> Any:
        if isinstance(node.layer, ActivationQuantizer):
            return tensors[node.inputs[0]]
        if type(node.layer) not in _PLAIN:
            return copies.call(node, tensors)
        if id(node.layer) in plain:
            return node.call(plain[id(node.layer)], tensors)
        layer, output = _rebuilt(node, tensors)
        plain[id(node.layer)] = layer
        return output

    return rebuilt(graph, visit)


def _rebuilt(node: Node, tensors: Tensors) -> tuple[Any, Any]:
    """The plain layer that computes with the quantized one's weights, and its output."""
    config = {key: v for key, v in node.layer.get_config().items() if key not in _OWN_SETTINGS}
    layer = _PLAIN[type(node.layer)].from_config(config)
    output = node.call(layer, tensors)
    if isinstance(node.layer, QuantizedPReLU):
        layer.alpha.assign(node.layer.quantized_alpha())
        return layer, output
    integers, scale = node.layer.quantized_kernel()
    layer.kernel.assign(from_matrix(layer, to_matrix(layer, integers).astype(np.float32) * scale))
    if layer.bias is not None:
        layer.bias.assign(node.layer.bias)
    return layer, output
