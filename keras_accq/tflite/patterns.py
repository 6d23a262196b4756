"""The small groups of built-ins that stand for one thing of ours: clamps, and a dense layer.

A narrower operand range is written in built-ins as int8 MAXIMUM and MINIMUM with constants on the
tensor's own grid; a fully-connected layer with per-channel scales as RESHAPE, 1x1 CONV_2D, RESHAPE.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_accq.tflite.reader import Operator, Subgraph, Tensor

INT8_RANGE = (-128, 127)


def same_grid(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are int8 with one scale and zero point, and those are equal."""
    if a.type != "INT8" or b.type != "INT8":
        return False
    p, q = a.quantization, b.quantization
    if p is None or q is None or p.details or q.details:
        return False
    return (
        p.scale.size == q.scale.size == 1
        and p.scale[0] == q.scale[0]
        and p.zero_point[0] == q.zero_point[0]
    )


class Clamp(NamedTuple):
    """One MAXIMUM or MINIMUM with a constant.

    Attributes:
        op: The operator.
        input: The tensor that is clamped.
        low: The limit of a MAXIMUM, -128 for a MINIMUM.
        high: The limit of a MINIMUM, 127 for a MAXIMUM.
    """

    op: Operator
    input: int
    low: int
    high: int


def clamp_of(graph: Subgraph, op: Operator | None) -> Clamp | None:
    """`op` as a clamp of int8 values on one grid, or None when it is anything else."""
    if op is None or op.custom or op.name not in ("MAXIMUM", "MINIMUM"):
        return None
    if len(op.inputs) != 2 or len(op.outputs) != 1 or -1 in (*op.inputs, *op.outputs):
        return None
    y = graph.tensors[op.outputs[0]]
    for place in (0, 1):
        x, limit = graph.tensors[op.inputs[place]], graph.tensors[op.inputs[1 - place]]
        if (
            limit.raw is not None
            and limit.storage is None
            and limit.elements == 1
            and len(limit.shape) <= len(x.shape)  # So that broadcasting leaves x's shape.
            and x.shape == y.shape
            and same_grid(x, limit)
            and same_grid(x, y)
        ):
            value = int(limit.array().reshape(()))
            if op.name == "MAXIMUM":
                return Clamp(op, x.index, value, INT8_RANGE[1])
            return Clamp(op, x.index, INT8_RANGE[0], value)
    return None


def compose(first: tuple[int, int], then: tuple[int, int]) -> tuple[int, int]:
    """The one clamp that equals clamping to `first` and after that to `then`."""
    (a, b), (low, high) = first, then
    return min(max(a, low), high), min(max(b, low), high)


def value_range(
    graph: Subgraph, tensor: int, known: Mapping[int, tuple[int, int]] | None = None
) -> tuple[int, int]:
    """Limits that every value of an int8 tensor keeps, by the clamps that produce it.

    RESHAPEs in between are looked through. Without clamps it is the whole of int8.

    Args:
        graph: The subgraph.
        tensor: The tensor's index.
        known: Ranges by tensor that are known otherwise.
    """
    result = INT8_RANGE
    clamps = []
    # Sound graphs have a handful of clamps in a row; a chain of thousands may have as many readers.
    for _ in range(16):
        if known and tensor in known:
            result = known[tensor]
            break
        op = graph.producers.get(tensor)
        clamp = clamp_of(graph, op)
        if clamp is not None:
            clamps.append((clamp.low, clamp.high))
            tensor = clamp.input
        elif op is not None and reshape_input(graph, op) is not None:
            tensor = op.inputs[0]
        else:
            break
    for limits in reversed(clamps):
        result = compose(result, limits)
    return result


def reshape_input(graph: Subgraph, op: Operator | None) -> Tensor | None:
    """The tensor that `op` reshapes to a constant shape on the same grid, else None."""
    if op is None or op.custom or op.name != "RESHAPE" or len(op.outputs) != 1:
        return None
    if not 1 <= len(op.inputs) <= 2 or -1 in (*op.inputs, *op.outputs):
        return None
    if len(op.inputs) == 2 and graph.tensors[op.inputs[1]].raw is None:
        return None
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    return x if x.elements == y.elements and same_grid(x, y) else None


def _reshape_target(graph: Subgraph, op: Operator) -> list[int] | None:
    if len(op.inputs) == 2:
        target = graph.tensors[op.inputs[1]]
        if target.type != "INT32" or target.storage or len(target.shape) != 1:
            return None
        return [int(d) for d in target.array()]
    new_shape = op.options.get("new_shape")
    return None if new_shape is None else np.asarray(new_shape).tolist()


class DenseAsConv(NamedTuple):
    """RESHAPE -> 1x1 CONV_2D -> RESHAPE that computes a fully-connected layer.

    Attributes:
        before: The first RESHAPE.
        conv: The CONV_2D.
        after: The second RESHAPE.
        keep_num_dims: Whether the output keeps the input's leading dimensions.
    """

    before: Operator
    conv: Operator
    after: Operator
    keep_num_dims: bool


def dense_as_conv(graph: Subgraph, conv: Operator) -> DenseAsConv | None:
    """The dense layer around a CONV_2D, or None when it is not exactly that.

    The tensors between the three must have no other reader and be no output of the graph, and
    rows and features must be the same on both sides, for every batch size that the shapes allow.
    """
    if conv.name != "CONV_2D" or len(conv.inputs) < 2 or len(conv.outputs) != 1:
        return None
    if -1 in (*conv.inputs[:2], *conv.outputs):
        return None
    before = graph.producers.get(conv.inputs[0])
    after_ops = graph.consumers.get(conv.outputs[0], [])
    if before is None or len(after_ops) != 1 or after_ops[0].inputs[0] != conv.outputs[0]:
        return None
    after = after_ops[0]
    x = reshape_input(graph, before)
    if x is None or reshape_input(graph, after) is None:
        return None
    if graph.consumers[conv.inputs[0]] != [conv]:
        return None
    if graph.visible & {conv.inputs[0], conv.outputs[0]}:
        return None
    weights = graph.tensors[conv.inputs[1]]
    units, height, width, features = weights.shape if len(weights.shape) == 4 else (0, 0, 0, 0)
    strides = (conv.options.get("stride_h", 0), conv.options.get("stride_w", 0))
    pixels = graph.tensors[conv.inputs[0]].shape
    if features < 1 or (height, width) != (1, 1) or strides != (1, 1) or pixels[-1:] != (features,):
        return None
    y = graph.tensors[after.outputs[0]]
    target = _reshape_target(graph, after)
    if target is None or not x.shape or x.is_variable:
        return None
    if len(y.shape) == 2 and y.shape == (x.elements // features, units):
        # With a changing batch only a computed number of rows follows it.
        if -1 in x.signature and target != [-1, units]:
            return None
        return DenseAsConv(before, conv, after, keep_num_dims=False)
    if x.shape[-1] == features and y.shape == (*x.shape[:-1], units):
        changing = [i for i, dim in enumerate(x.signature) if dim == -1]
        if changing and (len(changing) > 1 or target[changing[0]] != -1):
            return None
        return DenseAsConv(before, conv, after, keep_num_dims=True)
    return None
