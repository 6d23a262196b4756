"""Batch normalization made part of the layers before it, in a float model."""

from typing import Any

import keras
import numpy as np

from keras_accq.graph.nodes import Graph, Node, read
from keras_accq.graph.supported import Kind, kind
from keras_accq.layers.kernels import from_matrix, to_matrix


def absorb_batch_norms(graph: Graph) -> Graph:
    """A new float model without BatchNormalization that computes the same as the graph's.

    Each output channel's weights are multiplied by gamma/sd, sd = sqrt(variance + epsilon), and its
    bias becomes beta + (bias - mean)·gamma/sd. Computed in float64 and rounded once.

    Args:
        graph: A supported model (`supported.check`): each of these layers reads a compute layer
            without activation, alone.

    Returns:
        The new model's graph, with the names of the layers kept; the graph given if there is no
        BatchNormalization in it.
    """
    norms = [node for node in graph.nodes if kind(node.layer) is Kind.BATCH_NORM]
    if not norms:
        return graph
    by_input = {node.inputs[0]: node for node in norms}
    tensors: dict[int, Any] = {}
    for node in graph.inputs:
        tensor = graph.tensors[node.output]
        tensors[node.output] = keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=node.name
        )
    inputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], graph.inputs_struct)
    for node in graph.nodes:
        if node in norms:
            tensors[node.output] = tensors[node.inputs[0]]
        elif node.output in by_input:
            tensors[node.output] = _absorbed(node, by_input[node.output], tensors)
        else:
            layer = type(node.layer).from_config(node.layer.get_config())
            tensors[node.output] = node.call(layer, tensors)
            layer.set_weights([np.array(value) for value in node.layer.get_weights()])
    outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], graph.outputs_struct)
    return read(keras.Model(inputs, outputs, name=graph.model.name))


def _absorbed(node: Node, norm: Node, tensors: dict[int, Any]) -> Any:
    """The output of a new compute layer that does what two did."""
    old = node.layer
    layer = type(old).from_config({**old.get_config(), "use_bias": True})
    output = node.call(layer, tensors)
    factor, offset = _affine(norm.layer)
    kernel = from_matrix(old, to_matrix(old, _exact(old.kernel)) * factor)
    bias = 0.0 if old.bias is None else _exact(old.bias)
    layer.set_weights([kernel.astype(np.float32), (bias * factor + offset).astype(np.float32)])
    return output


def _affine(norm: Any) -> tuple[Any, Any]:
    """What batch normalization does in inference, as factor and offset: float64 [channels]."""
    factor = 1.0 / np.sqrt(_exact(norm.moving_variance) + norm.epsilon)
    if norm.gamma is not None:
        factor = factor * _exact(norm.gamma)
    beta = 0.0 if norm.beta is None else _exact(norm.beta)
    return factor, beta - _exact(norm.moving_mean) * factor


def _exact(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
