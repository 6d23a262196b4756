"""MultiHeadAttention written out in layers that can be quantized.

Query, key and value are Dense, Reshape to heads, and Permute to [heads, positions, depth]; then
come the products of queries and keys, a softmax, the products of its weights and the values, and
back by Permute and Reshape to the Dense that projects the result.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_accq.graph.nodes import Node
from keras_accq.layers import ActivationProduct, AttentionSoftmax

# Makes a layer of a class, name and settings, or gives the one that it made before.
MakeLayer = Callable[..., Any]

_MASKS = ("query_mask", "value_mask", "key_mask", "attention_mask")


def attention_problem(node: Node, tensors: Mapping[int, Any]) -> str | None:
    """Why a MultiHeadAttention, called as this node calls it, can not be written out.

    Args:
        node: The node.
        tensors: The graph's Keras tensors.

    Returns:
        The reason; None if it can.
    """
    layer, call = node.layer, _arguments(node, tensors)
    if layer._use_gate:
        return "use_gate=True; expected an attention without a gate"
    if layer._sliding_window is not None:
        return f"sliding_window={layer._sliding_window}; expected None"
    if layer._kernel_constraint is not None or layer._bias_constraint is not None:
        return "a constraint on kernels or biases, which change their shape; expected None"
    if any(getattr(dense, "lora_enabled", False) for dense in _projections(layer)):
        return "has LoRA weights; merge them first"
    if call["return_attention_scores"]:
        return "return_attention_scores=True; expected the attention's result alone"
    if any(call[name] is not None for name in _MASKS):
        return "a mask is given; expected none, or use_causal_mask=True"
    shapes = [getattr(call[name], "shape", None) for name in ("query", "value", "key")]
    if any(shape is None or len(shape) != 3 or None in shape[1:] for shape in shapes):
        return (
            f"query, value and key of the shapes {shapes}; expected [batch, positions, channels] "
            "with a fixed number of positions"
        )
    if len(layer._output_shape or (1,)) != 1:
        return f"output_shape={layer._output_shape}; expected one number of channels"
    return None


def write_attention(node: Node, tensors: Mapping[int, Any], make: MakeLayer) -> Any:
    """The output of a node's MultiHeadAttention, written out.

    Args:
        node: One without an `attention_problem`.
        tensors: New tensors by old keys.
        make: For the layers, which are named after the node's.
    """
    layer, call = node.layer, _arguments(node, tensors)
    name, heads = layer.name, layer.num_heads
    depth = {"query": layer.key_dim, "key": layer.key_dim, "value": layer.value_dim}
    # The factor of the scores is the query's: it costs no operator and no rounding.
    factor = {"query": 1 / math.sqrt(layer.key_dim), "key": 1.0, "value": 1.0}
    *projections, output = _projections(layer)
    parts = {}
    for part, old in zip(depth, projections, strict=True):
        x = call[part]
        y = _dense(f"{name}-{part}", old, x, factor[part], make)
        split = (-1, heads, depth[part])
        y = make(keras.layers.Reshape, f"{name}-{part}_split", target_shape=split)(y)
        parts[part] = make(keras.layers.Permute, f"{name}-{part}_heads", dims=(2, 1, 3))(y)
    product = make(ActivationProduct, f"{name}-scores", transpose_b=True, dtype=layer.dtype_policy)
    scores = product([parts["query"], parts["key"]])
    causal = bool(call["use_causal_mask"]) and scores.shape[-1] > 1
    weigh = make(
        AttentionSoftmax,
        f"{name}-{'causal_weights' if causal else 'weights'}",
        causal=causal,
        dtype=layer.dtype_policy,
    )
    weights = weigh(scores)
    if layer.dropout:
        drop = make(keras.layers.Dropout, f"{name}-dropout", rate=layer.dropout, seed=layer.seed)
        weights = drop(weights)
    product = make(ActivationProduct, f"{name}-mixed", dtype=layer.dtype_policy)
    y = make(keras.layers.Permute, f"{name}-positions", dims=(2, 1, 3))(
        product([weights, parts["value"]])
    )
    joined = (-1, heads * layer.value_dim)
    y = make(keras.layers.Reshape, f"{name}-joined", target_shape=joined)(y)
    return _dense(f"{name}-output", output, y, 1.0, make)


def _projections(layer: Any) -> tuple[Any, Any, Any, Any]:
    """The EinsumDense layers of query, key, value and result."""
    return layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense


def _arguments(node: Node, tensors: Mapping[int, Any]) -> dict[str, Any]:
    """What a node gives to MultiHeadAttention.call, by name."""

    def taken(
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> dict[str, Any]:
        return {**locals(), "key": value if key is None else key}

    found: dict[str, Any] = node.call(taken, tensors)
    return found


def _dense(name: str, old: Any, x: Any, factor: float, make: MakeLayer) -> Any:
    """The Dense that an EinsumDense over the last axis, or the last axes, is."""
    kernel = np.array(keras.ops.convert_to_numpy(old.kernel)).reshape(x.shape[-1], -1)
    layer = make(
        keras.layers.Dense,
        name,
        units=kernel.shape[1],
        use_bias=old.bias is not None,
        kernel_regularizer=old.kernel_regularizer,
        bias_regularizer=old.bias_regularizer,
        activity_regularizer=old.activity_regularizer,
        trainable=old.trainable,
        dtype=old.dtype_policy,
    )
    y = layer(x)
    bias = [] if old.bias is None else [np.array(keras.ops.convert_to_numpy(old.bias)).reshape(-1)]
    layer.set_weights([(values * factor).astype(np.float32) for values in (kernel, *bias)])
    return y
