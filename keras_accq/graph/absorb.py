"""Batch normalization made part of the layers before it, in a float model."""

from typing import Any

import keras
import numpy as np

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.copied import Copies, Tensors, rebuilt
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
    _check_shared(norms, graph)
    copies = Copies()
    absorbed: dict[int, Any] = {}

    def visit(node: Node, tensors: Tensors) -> Any:
        if node in norms:
            return tensors[node.inputs[0]]
        if node.output not in by_input:
            return copies.call(node, tensors)
        if id(node.layer) in absorbed:
            return node.call(absorbed[id(node.layer)], tensors)
        layer, output = _absorbed(node, by_input[node.output], tensors)
        absorbed[id(node.layer)] = layer
        return output

    return read(rebuilt(graph, visit))


def _check_shared(norms: list[Node], graph: Graph) -> None:
    """Refuses a layer of several calls that BatchNormalization follows in different ways."""
    producers = graph.producers()
    found: dict[int, set[int]] = {}
    for norm in norms:
        found.setdefault(id(producers[norm.inputs[0]].layer), set()).add(id(norm.layer))
    for node in graph.nodes:
        followed = found.get(id(node.layer))
        reading = {id(reader.layer) for reader in graph.consumers()[node.output]}
        if followed is not None and followed != reading:
            raise UnsupportedModelError(
                f"layer {node.name!r} is called several times and has other BatchNormalization "
                "behind each call, which can not be folded into one kernel; scheme "
                "'fixed_point' needs a layer for each call"
            )


def _absorbed(node: Node, norm: Node, tensors: Tensors) -> tuple[Any, Any]:
    """A new compute layer that does what two did, and its output."""
    old = node.layer
    layer = type(old).from_config({**old.get_config(), "use_bias": True})
    output = node.call(layer, tensors)
    factor, offset = _affine(norm.layer)
    kernel = from_matrix(old, to_matrix(old, _exact(old.kernel)) * factor)
    bias = 0.0 if old.bias is None else _exact(old.bias)
    layer.set_weights([kernel.astype(np.float32), (bias * factor + offset).astype(np.float32)])
    return layer, output


def _affine(norm: Any) -> tuple[Any, Any]:
    """What batch normalization does in inference, as factor and offset: float64 [channels]."""
    factor = 1.0 / np.sqrt(_exact(norm.moving_variance) + norm.epsilon)
    if norm.gamma is not None:
        factor = factor * _exact(norm.gamma)
    beta = 0.0 if norm.beta is None else _exact(norm.beta)
    return factor, beta - _exact(norm.moving_mean) * factor


def _exact(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
