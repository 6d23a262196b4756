"""A float model copied: layers, weights and names."""

from typing import Any

import keras
import numpy as np

from keras_accq.graph.nodes import Graph


def copied(graph: Graph) -> keras.Model:
    """A functional model of new layers with the names and weights of the graph's.

    Unlike `keras.models.clone_model` it keeps the names of the inputs too.

    Args:
        graph: A model in which every layer is called once.
    """
    tensors: dict[int, Any] = {}
    for node in graph.inputs:
        tensor = graph.tensors[node.output]
        tensors[node.output] = keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=node.name
        )
    inputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], graph.inputs_struct)
    for node in graph.nodes:
        layer = type(node.layer).from_config(node.layer.get_config())
        tensors[node.output] = node.call(layer, tensors)
        layer.set_weights([np.array(value) for value in node.layer.get_weights()])
    outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], graph.outputs_struct)
    return keras.Model(inputs, outputs, name=graph.model.name)
