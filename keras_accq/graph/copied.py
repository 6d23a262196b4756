"""A model built anew, node by node: the same, or with some of its layers replaced."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_accq.graph.nodes import Graph, Node

Tensors = dict[int, Any]


def rebuilt(graph: Graph, visit: Callable[[Node, Tensors], Any]) -> keras.Model:
    """A functional model with the graph's inputs, and whatever is made of its nodes.

    Unlike `keras.models.clone_model` it keeps the names of the inputs too.

    Args:
        graph: A model's.
        visit: Called with each node in topological order and the new tensors made before, by the
            keys of the old ones; returns the node's new output.
    """
    tensors = new_inputs(graph)
    inputs = mapped(graph.inputs_struct, tensors)
    for node in graph.nodes:
        tensors[node.output] = visit(node, tensors)
    return keras.Model(inputs, mapped(graph.outputs_struct, tensors), name=graph.model.name)


def new_inputs(graph: Graph) -> Tensors:
    """Inputs like the graph's, by the keys of those."""
    tensors: Tensors = {}
    for node in graph.inputs:
        tensor = graph.tensors[node.output]
        tensors[node.output] = keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=node.name
        )
    return tensors


def mapped(struct: Any, tensors: Mapping[int, Any]) -> Any:
    """A nest of old tensors as one of new tensors."""
    return keras.tree.map_structure(lambda tensor: tensors[id(tensor)], struct)


class Copies:
    """New layers with the settings and weights of others: one for each, however often called."""

    def __init__(self) -> None:
        self._layers: dict[int, Any] = {}

    def call(self, node: Node, tensors: Mapping[int, Any], name: str | None = None) -> Any:
        """The output of the node's layer copied.

        Args:
            node: The node.
            tensors: New tensors by old keys.
            name: The copy's, if not the layer's own.
        """
        copy = self._layers.get(id(node.layer))
        if copy is not None:
            return node.call(copy, tensors)
        config = node.layer.get_config()
        copy = type(node.layer).from_config({**config, "name": name or node.layer.name})
        self._layers[id(node.layer)] = copy
        output = node.call(copy, tensors)
        copy.set_weights([np.array(value) for value in node.layer.get_weights()])
        return output


def copied(graph: Graph) -> keras.Model:
    """A functional model of new layers with the names and weights of the graph's."""
    return rebuilt(graph, Copies().call)
