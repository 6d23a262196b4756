"""A Keras 3 Sequential or Functional model as nodes in topological order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_accq.errors import UnsupportedModelError


@dataclass(frozen=True)
class Node:
    """One call of one layer.

    Attributes:
        layer: The Keras layer (or other operation) called.
        inputs: Keys of the tensors it takes, in order.
        outputs: Keys of the tensors it makes.
        call: Calls a layer as this node calls its own: given the layer and a mapping from keys to
            new tensors.
        number: Which of the layer's calls in the model it is, from 1 on.
    """

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: Callable[[Any, Mapping[int, Any]], Any]

    number: int = 1

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.name)

    @property
    def label(self) -> str:
        """A name for this call: the layer's, with a number from the second on."""
        return self.name if self.number == 1 else f"{self.name}-call{self.number}"

    @property
    def output(self) -> int:
        """The key of the single output."""
        (key,) = self.outputs
        return key


@dataclass(frozen=True)
class Graph:
    """A model's nodes.

    Attributes:
        model: The Keras model read.
        inputs: InputLayer nodes, in topological order.
        nodes: All other nodes, in topological order.
        tensors: The symbolic Keras tensor of each key.
        inputs_struct: The model's inputs: a nest of Keras tensors.
        outputs_struct: Likewise its outputs.
    """

    model: Any
    inputs: tuple[Node, ...]
    nodes: tuple[Node, ...]
    tensors: dict[int, Any]
    inputs_struct: Any
    outputs_struct: Any

    def consumers(self) -> dict[int, list[Node]]:
        """The nodes that take each tensor, one entry for each time they take it."""
        found: dict[int, list[Node]] = {key: [] for key in self.tensors}
        for node in self.nodes:
            for key in node.inputs:
                found[key].append(node)
        return found

    def producers(self) -> dict[int, Node]:
        return {key: node for node in (*self.inputs, *self.nodes) for key in node.outputs}

    def outputs(self) -> set[int]:
        """The keys of the model's outputs."""
        return {id(tensor) for tensor in keras.tree.flatten(self.outputs_struct)}


def read(model: Any) -> Graph:
    """The nodes of a model.

    Raises:
        TypeError: Not a Keras model.
        UnsupportedModelError: A tf_keras or a subclassed model, or one that is not built.
    """
    functional = _functional(model)
    # Not layer._inbound_nodes: a layer may also have been called by other models.
    by_depth = functional._nodes_by_depth
    ordered = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    tensors: dict[int, Any] = {}
    inputs: list[Node] = []
    nodes: list[Node] = []
    calls: dict[int, int] = {}
    for keras_node in ordered:
        tensors.update((id(tensor), tensor) for tensor in keras_node.output_tensors)
        calls[id(keras_node.operation)] = calls.get(id(keras_node.operation), 0) + 1
        node = Node(
            keras_node.operation,
            tuple(id(tensor) for tensor in keras_node.input_tensors),
            tuple(id(tensor) for tensor in keras_node.output_tensors),
            _caller(keras_node.arguments),
            calls[id(keras_node.operation)],
        )
        (inputs if keras_node.is_input else nodes).append(node)
    return Graph(
        model,
        tuple(inputs),
        tuple(nodes),
        tensors,
        functional._inputs_struct,
        functional._outputs_struct,
    )


def matching(graph: Graph, other: Graph, skip: type) -> dict[int, int]:
    """The keys of tensors of `graph` that layers of the same names made in the same way in `other`.

    Args:
        graph: A model.
        other: A model with further layers in it.
        skip: The class of those.

    Returns:
        By the key in `other`, that in `graph`.
    """
    numbers: dict[Any, int] = {}

    def numbered(nodes: Graph) -> dict[int, int]:
        found: dict[int, int] = {}
        for node in (*nodes.inputs, *nodes.nodes):
            if isinstance(node.layer, skip):
                found[node.output] = found[node.inputs[0]]
            else:
                made = node.name, tuple(found[key] for key in node.inputs)
                found[node.output] = numbers.setdefault(made, len(numbers))
        return found

    keys = {number: key for key, number in numbered(graph).items()}
    return {key: keys[number] for key, number in numbered(other).items() if number in keys}


def argument(node: Node, tensors: Mapping[int, Any]) -> Any:
    """What a node's layer is given, as its first argument.

    Args:
        node: The node.
        tensors: By the keys of its inputs.
    """
    return node.call(lambda *args, **kwargs: args[0] if args else kwargs["inputs"], tensors)


def _caller(arguments: Any) -> Callable[[Any, Mapping[int, Any]], Any]:
    def call(layer: Any, tensors: Mapping[int, Any]) -> Any:
        args, kwargs = arguments.fill_in(tensors)
        return layer(*args, **kwargs)

    return call


def _functional(model: Any) -> Any:
    if not isinstance(model, keras.Model):
        origin = type(model).__module__.split(".")[0]
        if origin == "tf_keras" or hasattr(model, "_is_graph_network"):
            raise UnsupportedModelError(
                f"expected a Keras 3 model, received {type(model).__name__} of {origin} (Keras 2). "
                "Rebuild it with the layers of `keras` (pip install 'keras>=3.15'), and copy its "
                "weights with new_model.set_weights(model.get_weights())"
            )
        raise TypeError(f"expected a Keras model, received {model!r}")
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            raise UnsupportedModelError(
                f"model {model.name!r} is not built: start it with keras.Input(shape), or call "
                "model.build(input_shape)"
            )
        return model._functional
    if type(model).__name__ != "Functional" or not hasattr(model, "_nodes_by_depth"):
        raise UnsupportedModelError(
            f"model {model.name!r}: expected a Sequential or Functional model, received the "
            f"subclass {type(model).__name__}, whose layers can not be listed. Rebuild it as "
            "keras.Model(inputs, outputs)"
        )
    return model
