"""Which layers can be quantized, and how each treats the scale of its tensors."""

from enum import Enum, unique
from typing import Any

import keras
import numpy as np

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.nodes import Graph, Node
from keras_accq.layers import (
    ActivationProduct,
    ActivationQuantizer,
    AttentionSoftmax,
    QuantizedPReLU,
    QuantizedWeights,
)
from keras_accq.transposed import tflite_padding


@unique
class Kind(Enum):
    """What a layer does to the scale of its input."""

    COMPUTE = "dot products; a new scale"
    BATCH_NORM = "folded into the layer before it"
    RELU = "fused into the layer before it; a new scale"
    PRODUCT = "dot products of two activations; a new scale"
    ARITHMETIC = "sums, differences or products of two tensors on a new scale"
    FUNCTION = "a function of each value; a new scale"
    GATE = "a function of each value; a fixed scale"
    ATTENTION = "a softmax inside; a fixed scale"
    NORMALIZATION = "computed in float; a new scale"
    HARD_SIGMOID = "folded into the layer before it; a fixed scale"
    CONCATENATE = "one scale for inputs and output"
    PASS = "values and scale of its input"
    AVERAGE = "scale of its input, new values"
    GLOBAL_AVERAGE = "averages on a new scale"
    SOFTMAX = "a fixed scale"
    RESCALING = "other names for the same integers"


_COMPUTE = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
)
_PASS = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.Dropout,
)
_ARITHMETIC = (keras.layers.Add, keras.layers.Subtract, keras.layers.Multiply)
# Their quantized models are of Keras 3 alone.
_KERAS3_ONLY = (
    QuantizedPReLU,
    keras.layers.LayerNormalization,
    ActivationProduct,
    AttentionSoftmax,
)
_KINDS: dict[type, Kind] = {
    **dict.fromkeys(_COMPUTE, Kind.COMPUTE),
    **dict.fromkeys(_PASS, Kind.PASS),
    **dict.fromkeys(_ARITHMETIC, Kind.ARITHMETIC),
    keras.layers.BatchNormalization: Kind.BATCH_NORM,
    keras.layers.ReLU: Kind.RELU,
    keras.layers.LeakyReLU: Kind.FUNCTION,
    keras.layers.PReLU: Kind.FUNCTION,
    QuantizedPReLU: Kind.FUNCTION,
    keras.layers.Concatenate: Kind.CONCATENATE,
    keras.layers.AveragePooling1D: Kind.AVERAGE,
    keras.layers.AveragePooling2D: Kind.AVERAGE,
    keras.layers.GlobalAveragePooling1D: Kind.GLOBAL_AVERAGE,
    keras.layers.GlobalAveragePooling2D: Kind.GLOBAL_AVERAGE,
    keras.layers.LayerNormalization: Kind.NORMALIZATION,
    ActivationProduct: Kind.PRODUCT,
    AttentionSoftmax: Kind.ATTENTION,
    keras.layers.Softmax: Kind.SOFTMAX,
    keras.layers.Rescaling: Kind.RESCALING,
}
# What a float model's nodes may be, of either Keras.
FLOAT_LAYERS = (
    *(cls for cls in _KINDS if cls not in _KERAS3_ONLY),
    keras.layers.Activation,
    keras.layers.Normalization,
    keras.layers.SeparableConv2D,
)
# `expand` writes further ones out in these.
_ACTIVATIONS: dict[Any, Kind] = {
    keras.activations.linear: Kind.PASS,
    keras.activations.relu: Kind.RELU,
    keras.activations.relu6: Kind.RELU,
    keras.activations.gelu: Kind.FUNCTION,
    keras.activations.sigmoid: Kind.GATE,
    keras.activations.tanh: Kind.GATE,
    keras.activations.hard_sigmoid: Kind.HARD_SIGMOID,
    keras.activations.softmax: Kind.SOFTMAX,
}
# The real values of -128 and 127 on the grids that TFLite prescribes. That of hard_sigmoid does its
# clipping.
_FIXED_RANGES: dict[Any, tuple[float, float]] = {
    keras.activations.sigmoid: (0.0, 255 / 256),
    keras.activations.hard_sigmoid: (0.0, 1.0),
    keras.activations.tanh: (-1.0, 127 / 128),
}
# TFLite's SOFTMAX has the same grid as its LOGISTIC.
_PROBABILITIES = _FIXED_RANGES[keras.activations.sigmoid]
# What a compute layer can have as its own last step.
FUSED_ACTIVATIONS = (
    keras.activations.linear,
    keras.activations.relu,
    keras.activations.relu6,
    keras.activations.softmax,
)
# Multiplied with the values by an integer on a free scale.
_SLOPES = (keras.layers.LeakyReLU, keras.layers.PReLU)

_WAYS_OUT = {
    keras.layers.Embedding: "a model that starts behind it, with an Input of its vectors",
    keras.layers.Attention: "MultiHeadAttention",
    keras.layers.AdditiveAttention: "MultiHeadAttention",
    keras.layers.GroupQueryAttention: "MultiHeadAttention",
    keras.layers.RMSNormalization: "LayerNormalization",
}


def kind(layer: Any) -> Kind | None:
    """How a layer treats scales, or None for an unsupported one (`layer_problem` says why)."""
    if type(layer) is keras.layers.Activation:
        return _ACTIVATIONS.get(layer.activation)
    if type(layer) in _AVERAGES and averages_all(layer):
        return Kind.PASS if _has_one_position(layer) else Kind.GLOBAL_AVERAGE
    if type(layer) in _GLOBAL_AVERAGES and _has_one_position(layer):
        # The converter leaves out a mean of one value, and with it the change of scale.
        return Kind.PASS
    # Exact types: what a subclass computes is not known.
    return _KINDS.get(type(layer))


_AVERAGES = (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D)
_GLOBAL_AVERAGES = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)


def _has_one_position(layer: Any) -> bool:
    shapes = {tuple(call.input_tensors[0].shape[1:-1]) for call in layer._inbound_nodes}
    return bool(shapes) and all(set(shape) == {1} for shape in shapes)


def known_activation(activation: Any) -> bool:
    """Whether a layer of its own can compute an activation."""
    return activation in _ACTIVATIONS


def averages_all(layer: Any) -> bool:
    """Whether an average pooling averages its whole input, as a global one does.

    Averages of many values span far less than the values: on a scale of their own they lose less.
    TFLite's MEAN changes the scale, its AVERAGE_POOL_2D does not.
    """
    shapes = {tuple(call.input_tensors[0].shape[1:-1]) for call in layer._inbound_nodes}
    return layer.padding == "valid" and shapes == {tuple(layer.pool_size)}


def has_relu(layer: Any) -> bool:
    """Whether the layer's last step is a ReLU or ReLU6, so that its output is never negative."""
    return kind(layer) is Kind.RELU or (
        kind(layer) is Kind.COMPUTE
        and layer.activation in (keras.activations.relu, keras.activations.relu6)
    )


def has_softmax(layer: Any) -> bool:
    """Whether a compute layer ends in a softmax of its own."""
    return kind(layer) is Kind.COMPUTE and layer.activation is keras.activations.softmax


def is_in_float(layer: Any) -> bool:
    """Whether files compute a layer in float32: no int8 operator of TFLite does."""
    return kind(layer) is Kind.NORMALIZATION or (kind(layer) is Kind.ATTENTION and layer.causal)


def fixed_range(layer: Any) -> tuple[float, float] | None:
    """The real values of -128 and 127 in a layer's output, where its grid is always the same."""
    if type(layer) is keras.layers.Activation:
        return _FIXED_RANGES.get(layer.activation)
    return _PROBABILITIES if type(layer) is AttentionSoftmax else None


def check_fixed_point(graph: Graph) -> None:
    """Refuses layers whose files hold a scale that is no power of two.

    Raises:
        UnsupportedModelError: Listing them.
    """
    found = [
        (
            node.name,
            "has a factor that is no power of two; expected another activation, or scheme='free'",
        )
        for node in graph.nodes
        if kind(node.layer) is Kind.HARD_SIGMOID or isinstance(node.layer, _SLOPES)
    ]
    if found:
        raise refusal(graph, found)


def refusal(graph: Graph, found: list[tuple[str, str]]) -> UnsupportedModelError:
    """The error that lists pairs of layer name and reason."""
    listed = "\n".join(f"  {name}: {reason}" for name, reason in found)
    return UnsupportedModelError(
        f"model {graph.model.name!r} can not be quantized, because of {len(found)} of its "
        f"layers:\n{listed}"
    )


def check(graph: Graph) -> None:
    """Refuses a model that can not be quantized.

    Args:
        graph: As `expand` gives it.

    Raises:
        UnsupportedModelError: The text lists all layers that are the reason.
        ValueError: Weights that are NaN or infinite.
    """
    found = problems(graph)
    if found:
        raise refusal(graph, found)
    if not any(kind(node.layer) is Kind.COMPUTE for node in graph.nodes):
        raise UnsupportedModelError(
            f"model {graph.model.name!r} has no layer to quantize; expected at least one Conv1D, "
            "Conv2D, DepthwiseConv2D, Conv2DTranspose or Dense"
        )
    bad = [
        f"{node.name}: {variable.name}"
        for node in graph.nodes
        for variable in node.layer.weights
        if not np.isfinite(keras.ops.convert_to_numpy(variable).astype(np.float64)).all()
    ]
    if bad:
        raise ValueError(f"expected finite weights; NaN or infinity in {', '.join(bad)}")


def problems(graph: Graph) -> list[tuple[str, str]]:
    """Everything that keeps the model from being quantized: pairs of layer name and reason."""
    consumers, producers, outputs = graph.consumers(), graph.producers(), graph.outputs()
    found = []
    for node in graph.nodes:
        reason = layer_problem(node.layer)
        if reason is None:
            reason = _place_problem(node, graph, consumers, producers, outputs)
        if reason is not None and (node.name, reason) not in found:
            found.append((node.name, reason))
    return found


def layer_problem(layer: Any) -> str | None:
    """Why a layer can not be quantized wherever it stands; None if it can."""
    described = type(layer).__name__
    if isinstance(layer, (QuantizedWeights, ActivationQuantizer)):
        return f"{described} is quantized already; pass the float model"
    if not isinstance(layer, keras.layers.Layer):
        return f"{described} is an operation; use a layer (keras.layers.Add() for x + y)"
    layer_kind = kind(layer)
    if layer_kind is None:
        if type(layer) is keras.layers.Activation:
            return _activation_problem(layer)
        if type(layer) in _WAYS_OUT:
            return f"{described} is not supported; expected {_WAYS_OUT[type(layer)]}"
        base = next((b.__name__ for b in _KINDS if isinstance(layer, b)), None)
        return f"{described} is not supported" + (f" (a subclass of {base})" if base else "")
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return "data_format 'channels_first'; expected 'channels_last'"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"quantized by Keras ({layer.quantization_mode}); pass the float model"
    check = {
        Kind.COMPUTE: _compute_problem,
        Kind.RELU: _relu_problem,
        Kind.SOFTMAX: _softmax_problem,
        Kind.RESCALING: _rescaling_problem,
        Kind.BATCH_NORM: _batch_norm_problem,
        Kind.NORMALIZATION: _normalization_problem,
        Kind.PASS: _pass_problem,
    }.get(layer_kind)
    return None if check is None else check(layer)


def _activation_problem(layer: Any) -> str:
    name = getattr(layer.activation, "__name__", layer.activation)
    return (
        f"activation {name!r}; expected linear, relu, relu6, leaky_relu, sigmoid, hard_sigmoid, "
        "silu, hard_silu, gelu, tanh or softmax"
    )


def _compute_problem(layer: Any) -> str | None:
    if layer.activation not in FUSED_ACTIVATIONS:
        return _activation_problem(layer)
    if getattr(layer, "lora_enabled", False):
        return "has LoRA weights; merge them first"
    if getattr(layer, "padding", None) == "causal":
        return "padding 'causal'; expected 'valid' behind ZeroPadding1D((kernel_size - 1, 0))"
    if type(layer) is keras.layers.Conv2DTranspose:
        return _transposed_problem(layer)
    return None


def _transposed_problem(layer: Any) -> str | None:
    if tuple(layer.dilation_rate) != (1, 1):
        return f"dilation_rate {layer.dilation_rate}; expected 1"
    try:
        tflite_padding(layer.kernel_size, layer.strides, layer.padding, layer.output_padding)
    except ValueError as error:
        return str(error)
    return None


def _pass_problem(layer: Any) -> str | None:
    if type(layer) is keras.layers.UpSampling2D and layer.interpolation != "nearest":
        return (
            f"interpolation {layer.interpolation!r}; expected 'nearest', or a Conv2DTranspose "
            "(LiteRT's int8 interpolation rounds in ways of its own)"
        )
    return None


def _relu_problem(layer: Any) -> str | None:
    if type(layer) is keras.layers.ReLU:
        slope, threshold = float(layer.negative_slope), float(layer.threshold)
        if slope or threshold or layer.max_value not in (None, 6):
            return (
                f"ReLU with max_value={layer.max_value}, negative_slope={slope}, "
                f"threshold={threshold}; expected max_value None or 6, and no slope or threshold"
            )
    return None


def _softmax_problem(layer: Any) -> str | None:
    axis = getattr(layer, "axis", -1)
    return None if axis == -1 else f"axis {axis}; expected -1"


def _rescaling_problem(layer: Any) -> str | None:
    if not (isinstance(layer.scale, (int, float)) and isinstance(layer.offset, (int, float))):
        return "scale and offset per channel; expected numbers"
    return None if layer.scale > 0 else f"scale {layer.scale}; expected a positive number"


def _batch_norm_problem(layer: Any) -> str | None:
    rank = layer.input_spec.ndim
    axis = layer.axis if isinstance(layer.axis, int) else list(layer.axis)
    return None if axis in (-1, rank - 1) else f"axis {axis}; expected the last"


def _normalization_problem(layer: Any) -> str | None:
    shapes = [call.input_tensors[0].shape for call in layer._inbound_nodes]
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if any(axes not in ([-1], [len(shape) - 1]) for shape in shapes):
        return f"axis {axes}; expected the last"
    if any(shape[-1] == 1 for shape in shapes):
        return "normalizes a single channel, which leaves nothing of it; expected several"
    return "rms_scaling=True; expected False" if layer.rms_scaling else None


def _place_problem(
    node: Node,
    graph: Graph,
    consumers: dict[int, list[Node]],
    producers: dict[int, Node],
    outputs: set[int],
) -> str | None:
    """What is wrong with a supported layer because of its neighbours."""
    node_kind = kind(node.layer)
    before = [producers[key] for key in node.inputs]
    if node_kind is Kind.RESCALING:
        alone = len(consumers[node.inputs[0]]) == 1 and node.inputs[0] not in outputs
        if before[0] not in graph.inputs or not alone:
            return "Rescaling must be the only reader of one of the model's inputs"
    if node_kind is Kind.ARITHMETIC and len(node.inputs) != 2:
        described = type(node.layer).__name__
        return f"{described} of {len(node.inputs)} tensors; expected 2 (chain several)"
    if (node_kind is Kind.SOFTMAX or has_softmax(node.layer)) and (
        consumers[node.output] or node.output not in outputs
    ):
        return "softmax must be an output of the model, and nothing else may read it"
    return None
