"""A float model written out in the layers that can be quantized; it computes the same.

In this order: nested models become their layers, "outer-inner" (Keras allows no "/" in a name);
layers that are several become those, and operations layers (`written_out.py`); multiplications and
additions of constants become a Rescaling of the input, or a depthwise convolution (`affine.py`);
and where a BatchNormalization or a hard_sigmoid has no layer to be folded into, it gets one.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_accq.graph.affine import write_affine
from keras_accq.graph.attention import attention_problem
from keras_accq.graph.copied import Copies, Tensors, mapped, new_inputs, rebuilt
from keras_accq.graph.depthwise import depthwise
from keras_accq.graph.nodes import Graph, Node, argument, read
from keras_accq.graph.supported import Kind, kind, layer_problem, refusal
from keras_accq.graph.written_out import rule, write_out

_FOLDED = (Kind.BATCH_NORM, Kind.HARD_SIGMOID)


def expand(model: Any) -> Graph:
    """The nodes of a model in which every layer is one that `quantize` knows.

    Args:
        model: A built Keras 3 float model, which is left as it is.

    Returns:
        The model's own nodes if there is nothing to do; else those of a new model.

    Raises:
        TypeError, UnsupportedModelError: As `nodes.read`; or layers that can not be quantized, all
            of them listed.
    """
    graph = read(model)
    nested = any(isinstance(node.layer, keras.Model) for node in graph.nodes)
    if nested or any(rule(n) is not None or kind(n.layer) in _FOLDED for n in graph.nodes):
        # Others could not even be copied.
        found = list(dict.fromkeys(_problems(graph, "")))
        if found:
            raise refusal(graph, found)
    if nested:
        graph = read(_flattened(graph))
    return _with_something_to_fold_into(write_affine(write_out(graph)))


def _problems(graph: Graph, prefix: str) -> Iterator[tuple[str, str]]:
    for node in graph.nodes:
        if isinstance(node.layer, keras.Model):
            yield from _problems(read(node.layer), f"{prefix}{node.name}-")
            continue
        reason = None
        if type(node.layer) is keras.layers.MultiHeadAttention:
            reason = attention_problem(node, graph.tensors)
        elif rule(node) is None:
            reason = layer_problem(node.layer)
        if reason is not None:
            yield f"{prefix}{node.name}", reason


def _flattened(graph: Graph) -> keras.Model:
    """The model with the layers of nested ones called directly."""
    tensors = new_inputs(graph)
    inputs = mapped(graph.inputs_struct, tensors)
    _call_all(graph, tensors, "", Copies())
    return keras.Model(inputs, mapped(graph.outputs_struct, tensors), name=graph.model.name)


def _call_all(graph: Graph, tensors: Tensors, prefix: str, copies: Copies) -> None:
    """Adds the outputs of all nodes to the tensors.

    Args:
        graph: A model, whose inputs' tensors are known.
        tensors: New tensors by old keys.
        prefix: Of the names.
        copies: All layers copied so far.
    """
    for node in graph.nodes:
        if not isinstance(node.layer, keras.layers.Layer):
            tensors[node.output] = node.call(_again(node.layer), tensors)
        elif not isinstance(node.layer, keras.Model):
            tensors[node.output] = copies.call(node, tensors, f"{prefix}{node.name}")
        else:
            inner = read(node.layer)
            taken = keras.tree.flatten(argument(node, tensors))
            inputs = keras.tree.flatten(inner.inputs_struct)
            inside = {id(old): new for old, new in zip(inputs, taken, strict=True)}
            _call_all(inner, inside, f"{prefix}{node.name}-", copies)
            made = keras.tree.flatten(inner.outputs_struct)
            tensors.update(
                (key, inside[id(old)]) for key, old in zip(node.outputs, made, strict=True)
            )


def _again(operation: Any) -> Callable[..., Any]:
    """An operation such as `x + 1` as it is: it has neither weights nor, of interest, a name."""
    new: Callable[..., Any] = type(operation).from_config(operation.get_config())
    return new


def _with_something_to_fold_into(graph: Graph) -> Graph:
    """The model with a depthwise convolution before what is folded into the layer before it."""
    consumers, producers, outputs = graph.consumers(), graph.producers(), graph.outputs()

    def is_lone(node: Node) -> bool:
        if kind(node.layer) not in _FOLDED:
            return False
        key = node.inputs[0]
        before = producers[key]
        follows = (kind(before.layer) is Kind.COMPUTE and _is_linear(before.layer)) or (
            kind(node.layer) is Kind.HARD_SIGMOID and kind(before.layer) is Kind.BATCH_NORM
        )
        return not follows or len(consumers[key]) != 1 or key in outputs

    lone = [n for n in graph.nodes if is_lone(n) and layer_problem(n.layer) is None]
    if not lone:
        return graph
    copies = Copies()

    def visit(node: Node, tensors: Tensors) -> Any:
        if node not in lone:
            return copies.call(node, tensors)
        x = argument(node, tensors)
        ones = np.ones(x.shape[-1])
        # What hard_sigmoid adds can be rounded in a bias; BatchNormalization has its own.
        bias = np.zeros_like(ones) if kind(node.layer) is Kind.HARD_SIGMOID else None

        def call(value: Any) -> Any:
            return copies.call(node, {**tensors, node.inputs[0]: value})

        return depthwise(x, f"{node.label}-scale", ones, bias, node.layer.dtype_policy, call)

    return read(rebuilt(graph, visit))


def _is_linear(layer: Any) -> bool:
    return layer.activation is keras.activations.linear
