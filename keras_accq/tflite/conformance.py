"""Whether a converted file holds what the quantized model means, number for number.

The converter is known to change scales and even weights without a word where it deems a graph
unusual, so nothing that it wrote is believed: every kernel, bias, scale and zero point is compared.
"""

from collections.abc import Collection, Sequence

import numpy as np

from keras_accq.errors import ConversionError
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.export import ExpectedOp, ExpectedProduct
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import Model, Operator, Subgraph, Tensor

# Operators whose output has a grid of TFLite's choosing.
_FIXED_GRIDS = {"SOFTMAX": Grid(1 / 256, -128)}
_PRODUCT = "BATCH_MATMUL"


def match(model: Model, expected: Sequence[ExpectedOp]) -> list[tuple[QuantizedOp, ExpectedOp]]:
    """The operator of each layer, found by its integers and scales.

    Args:
        model: As the converter wrote it.
        expected: What it was given.

    Raises:
        ConversionError: A layer's integers, scales, bias or input grid are not in the file, naming
            the layer, the channel and both values; or the file sums other products with weights.
    """
    remaining = list(expected)
    pairs = []
    for op in quantized_ops(model):
        if op.op == _PRODUCT:
            continue
        if op.reason is not None:
            raise ConversionError(f"{op}: {op.reason}")
        layer = next((layer for layer in remaining if _difference(op, layer) is None), None)
        if layer is None:
            raise ConversionError(f"{op}: {_explain(op, remaining)}")
        remaining.remove(layer)
        pairs.append((op, layer))
    if remaining:
        names = ", ".join(repr(layer.name) for layer in remaining)
        raise ConversionError(f"the converter left out the dot products of layers {names}")
    return pairs


def match_products(
    model: Model, expected: Sequence[ExpectedProduct]
) -> list[tuple[QuantizedOp, ExpectedProduct]]:
    """The operator of each product of two activations, found by its form and the grids it reads.

    Args:
        model: As the converter wrote it.
        expected: What it was given.

    Raises:
        ConversionError: The file holds other products, naming the operator or the layers.
    """
    remaining = list(expected)
    pairs = []
    for op in quantized_ops(model):
        if op.op != _PRODUCT:
            continue
        graph = model.subgraphs[op.subgraph]
        found = _found_product(graph, graph.operators[op.index])
        layer = next((x for x in remaining if (x.transpose_b, x.grids) == found), None)
        if layer is None:
            raise ConversionError(f"{op}: it computes no product of two activations of the model")
        remaining.remove(layer)
        pairs.append((op, layer))
    if remaining:
        names = ", ".join(repr(layer.name) for layer in remaining)
        raise ConversionError(f"the converter left out the products of activations {names}")
    return pairs


def _found_product(graph: Subgraph, op: Operator) -> tuple[bool, tuple[Grid, ...]] | None:
    tensors = [graph.tensors[t] for t in op.inputs]
    if any(x.raw is not None or x.quantization is None for x in tensors) or op.options.get("adj_x"):
        return None
    grids = tuple(
        Grid(float(x.quantization.scale[0]), int(x.quantization.zero_point[0]))
        for x in tensors
        if x.quantization is not None
    )
    return bool(op.options.get("adj_y")), grids


def _explain(op: QuantizedOp, layers: Sequence[ExpectedOp]) -> str:
    similar = [x for x in layers if x.kernel.by_channel.shape == op.weights().shape]
    if not similar:
        return "it computes no layer of the model"
    return f"layer {similar[0].name!r}: {_difference(op, similar[0])}"


def _difference(op: QuantizedOp, layer: ExpectedOp) -> str | None:
    """The first way in which an operator is not the layer, in words."""
    weights, kernel = op.weights(), layer.kernel
    expected = kernel.by_channel
    if weights.shape != expected.shape:
        return f"expected [channels, K] = {expected.shape}, came {weights.shape}"
    if not np.array_equal(weights, expected):
        channel, k = np.argwhere(weights != expected)[0]
        return (
            f"channel {channel}, weight {k}: expected the integer {expected[channel, k]}, came "
            f"{weights[channel, k]}"
        )
    if not np.array_equal(op.s_w, kernel.scales):
        channel = int(np.argmax(op.s_w != kernel.scales))
        return (
            f"channel {channel}: expected the weight scale {kernel.scales[channel]!r}, came "
            f"{op.s_w[channel]!r}"
        )
    if Grid(op.s_x, op.z_x) != layer.input_grid:
        return f"expected an input on {layer.input_grid}, came {Grid(op.s_x, op.z_x)}"
    units = kernel.bias.astype(np.float64) / (kernel.scales.astype(np.float64) * op.s_x)
    bias = np.zeros(len(units)) if op.bias is None else op.bias
    # The converter divides in float32.
    wrong = np.abs(bias - units) > 0.5 + np.abs(units) * 2.0**-21
    if wrong.any():
        channel = int(np.argmax(wrong))
        return f"channel {channel}: expected the bias {units[channel]:.1f}, came {bias[channel]}"
    return None


def check_tensors(
    model: Model,
    grids: Collection[Grid],
    *,
    float_operators: Collection[str] = (),
    islands: Collection[tuple[int, int]] = (),
) -> None:
    """Refuses float tensors inside, unknown grids, and QUANTIZEs that change a grid.

    Args:
        model: As the converter wrote it.
        grids: Of the model's tensors.
        float_operators: Operators that may compute in float32 on the way from a float input to the
            first QUANTIZE.
        islands: Subgraph and index of further operators that may (`match_islands`).

    Raises:
        ConversionError: Names the operator, the tensor and what is wrong.
    """
    for graph in model.subgraphs:
        for op in graph.operators:
            may_be_float = op.name in float_operators or (graph.index, op.index) in islands
            _check_operator(graph, op, grids, may_be_float)


def _check_operator(
    graph: Subgraph, op: Operator, grids: Collection[Grid], may_be_float: bool
) -> None:
    inputs = [graph.tensors[t] for t in op.inputs if t >= 0 and graph.tensors[t].raw is None]
    outputs = [graph.tensors[t] for t in op.outputs if t >= 0]
    if op.name == "QUANTIZE" and any(tensor.type != "FLOAT32" for tensor in inputs):
        raise ConversionError(
            f"{op}: a QUANTIZE between integer tensors ({inputs[0].name!r} to "
            f"{outputs[0].name!r}) that no layer explains"
        )
    for tensor in (*inputs, *outputs):
        is_float = tensor.type == "FLOAT32"
        is_end = (op.name == "QUANTIZE" and tensor in inputs) or (
            op.name == "DEQUANTIZE" and tensor in outputs
        )
        if is_float and (is_end or may_be_float):
            continue
        if tensor.type != "INT8":
            raise ConversionError(
                f"{op}: expected int8 tensors, came {tensor.name!r} of type {tensor.type}"
            )
        _check_grid(op, tensor, grids, tensor in outputs)


def _check_grid(op: Operator, tensor: Tensor, grids: Collection[Grid], is_output: bool) -> None:
    q = tensor.quantization
    if q is None or q.scale.size != 1:
        raise ConversionError(f"{op}: tensor {tensor.name!r} has no single scale")
    grid = Grid(float(q.scale[0]), int(q.zero_point[0]))
    # A DEQUANTIZE reads whatever the last operator put out, softmax included.
    known = {*grids, *_FIXED_GRIDS.values()} if op.name == "DEQUANTIZE" else set(grids)
    if is_output and op.name in _FIXED_GRIDS:
        known = {_FIXED_GRIDS[op.name]}
    if grid not in known:
        nearest = min(known, key=lambda other: abs(other.scale - grid.scale))
        raise ConversionError(
            f"{op}: tensor {tensor.name!r} is on {grid}, which is no tensor's of the model; the "
            f"nearest is {nearest}"
        )
