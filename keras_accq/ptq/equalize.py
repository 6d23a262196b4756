"""Cross-layer equalization: channels rescaled between two layers, the float function unchanged.

A ReLU lets positive factors through: relu(x/s)·s = relu(x). So a channel's factor can be taken out
of the layer that makes the channel and put into the layer that reads it (Nagel et al., ICCV 2019,
arXiv 1906.04721, section 4.1). One scale serves all channels of an activation tensor, and one
accumulator all products of an output: channels of like size make the most of both.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.calibration import batches
from keras_accq.graph.copied import copied
from keras_accq.graph.expand import expand
from keras_accq.graph.nodes import Graph, Node
from keras_accq.graph.supported import Kind, check, kind
from keras_accq.layers.kernels import channels
from keras_accq.ptq.moments import channel_moments

FloatArray = NDArray[np.float64]

# Equation 11 is applied to all pairs in turn until no factor is further from 1 than this.
_TOLERANCE = 1e-3
_SWEEPS = 50
# The part that the activation has in a measured factor; the reader's weights have the rest.
_SHARE = 2 / 3

# Other axes may become channels.
_MIXING = (keras.layers.Reshape, keras.layers.Permute)
_TYPES = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclass(frozen=True)
class Pair:
    """Two layers with nothing between them that would hold a channel's factor back.

    Attributes:
        first: The compute node that makes the channels.
        norm: The BatchNormalization that follows it, or None.
        second: The compute node that alone reads them.
        tensor: Key of the last tensor whose channels are those that `first` makes, in their order.
    """

    first: Node
    norm: Node | None
    second: Node
    tensor: int

    @property
    def channels(self) -> int:
        return channels(self.first.layer)


def equalize(model: keras.Model, calibration_data: Any = None) -> keras.Model:
    """A copy of a float model that computes the same, with channels of more equal size.

    Changed are pairs of Conv2D, DepthwiseConv2D and Dense layers joined by BatchNormalization,
    ReLU, pooling, padding, Dropout or Flatten, where nothing else reads a tensor between them. A
    pair with a ReLU6 between stays as it is, as does a channel that is zero on one side.

    Without calibration data channel i is divided by s_i = sqrt(r1_i / r2_i) (equation 11 of Nagel
    et al.), with r1_i the largest weight that makes it (BatchNormalization folded in) and r2_i the
    largest that reads it, pair by pair until nothing changes.

    With calibration data it is divided by e_i^(2/3) / a_i^(1/3), with e_i the root mean square of
    the channel's values, and a_i the same of the L1 norms of the weights by which the outputs read
    it, each output's weights divided by their L2 norm; for a DepthwiseConv2D by e_i. This form is
    this package's own. Weights have a scale per output here, so r1 says nothing about them. Where
    an accumulator limits the L1 norm of an output's integers, their rounding error is least for
    e_i^(2/3) / a_i^(1/3); that of the activations for e_i.

    Args:
        model: A built Keras 3 Sequential or Functional model that `quantize` takes; left as it is.
        calibration_data: As for `quantize`, or None.

    Returns:
        A model with the same layers and names.

    Raises:
        UnsupportedModelError, TypeError, ValueError: As `quantize`.
    """
    graph = expand(model)
    check(graph)
    found = pairs(graph)
    if calibration_data is None:
        factors = _weight_factors(graph, found)
    else:
        sizes = _sizes(graph, found, calibration_data)
        factors = [_measured_factors(*both) for both in zip(found, sizes, strict=True)]
    copy = copied(graph)
    for pair, by_channel in zip(found, factors, strict=True):
        _move(copy, pair, by_channel)
    return copy


def pairs(graph: Graph) -> list[Pair]:
    """The pairs of layers that can be equalized, in topological order of their first."""
    consumers, outputs = graph.consumers(), graph.outputs()
    # Their weights serve other tensors too.
    shared = {node.name for node in graph.nodes if node.number > 1}
    found = []
    for first in graph.nodes:
        if type(first.layer) not in _TYPES or not _lets_through(first.layer):
            continue
        if first.name in shared:
            continue
        node, norm, tensor = first, None, first.output
        while len(consumers[node.output]) == 1 and node.output not in outputs:
            node = consumers[node.output][0]
            if node.name in shared:
                break
            if kind(node.layer) is Kind.COMPUTE:
                if type(node.layer) in _TYPES:
                    found.append(Pair(first, norm, node, tensor))
                break
            if kind(node.layer) is Kind.BATCH_NORM:
                norm = node
            if not _lets_through(node.layer):
                break
            if graph.tensors[node.output].shape[-1] == graph.tensors[first.output].shape[-1]:
                tensor = node.output  # Not flattened.
    return found


def _lets_through(layer: Any) -> bool:
    """Whether a layer that is called with a channel times a positive factor returns it so."""
    layer_kind = kind(layer)
    if layer_kind is Kind.COMPUTE:
        return layer.activation in (keras.activations.linear, keras.activations.relu)
    if layer_kind is Kind.BATCH_NORM:
        return bool(layer.scale)  # With gamma and beta it can be made to.
    if layer_kind is Kind.RELU:
        if type(layer) is keras.layers.ReLU:
            return layer.max_value is None
        return layer.activation is keras.activations.relu
    return layer_kind in (Kind.AVERAGE, Kind.GLOBAL_AVERAGE) or (
        layer_kind is Kind.PASS and type(layer) not in _MIXING
    )


def _sizes(graph: Graph, found: list[Pair], data: Any) -> list[FloatArray]:
    """Root mean square of each pair's channels, float64 [channels]."""
    if not found:
        return []
    tensors = [(pair.first.name, graph.tensors[pair.tensor]) for pair in found]
    return [
        np.sqrt(np.square(moments.mean) + moments.variance)
        for moments in channel_moments(graph, tensors, batches(graph, data))
    ]


def _weight_factors(graph: Graph, found: list[Pair]) -> list[FloatArray]:
    """Factors of all pairs by equation 11."""
    consumers = graph.consumers()
    kernels = {
        node.name: _folded_kernel(node, consumers)
        for pair in found
        for node in (pair.first, pair.second)
    }
    totals = [np.ones(pair.channels) for pair in found]
    for _ in range(_SWEEPS):
        furthest = 0.0
        for pair, total in zip(found, totals, strict=True):
            first, second = pair.first.name, pair.second.name
            made = np.abs(kernels[first]).reshape(-1, total.size).max(axis=0)
            read_by = np.abs(_by_input(pair.second.layer, kernels[second], pair.channels))
            factors = _quotient(np.sqrt(made), np.sqrt(read_by.max(axis=(2, 3)).reshape(-1)))
            kernels[first] = _times_outputs(kernels[first], 1 / factors)
            kernels[second] = _times_inputs(pair.second.layer, kernels[second], factors)
            total *= factors
            furthest = max(furthest, float(np.abs(factors - 1).max()))
        if furthest <= _TOLERANCE:
            break
    return totals


def _measured_factors(pair: Pair, sizes: FloatArray) -> FloatArray:
    layer = pair.second.layer
    weights = _by_input(layer, _array(layer.kernel), pair.channels)
    if weights.shape[1] == 1:  # Every output reads one channel: there is nothing to trade.
        return _quotient(sizes, np.ones_like(sizes))
    l1 = np.abs(weights).sum(axis=3)
    l2 = np.sqrt(np.square(weights).sum(axis=(1, 3)))[:, None]
    reading = np.sqrt(np.square(_quotient(l1, l2, 0.0)).mean(axis=2)).reshape(-1)
    return _quotient(sizes**_SHARE, reading ** (1 - _SHARE))


def _quotient(a: FloatArray, b: FloatArray, otherwise: float = 1.0) -> FloatArray:
    """a / b; `otherwise` where either is 0."""
    a, b = np.broadcast_arrays(a, b)
    return np.divide(a, b, out=np.full(a.shape, otherwise), where=(a > 0) & (b > 0))


def _array(variable: Any) -> FloatArray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def _folded_kernel(node: Node, consumers: dict[int, list[Node]]) -> FloatArray:
    """A compute node's kernel with the BatchNormalization that follows it, without its signs."""
    kernel = _array(node.layer.kernel)
    readers = consumers[node.output]
    if not (readers and kind(readers[0].layer) is Kind.BATCH_NORM):
        return kernel
    norm = readers[0].layer
    factors = 1 / np.sqrt(_array(norm.moving_variance) + norm.epsilon)
    if norm.gamma is not None:
        factors *= np.abs(_array(norm.gamma))
    return _times_outputs(kernel, factors)


def _by_input(layer: Any, kernel: FloatArray, channels: int) -> FloatArray:
    """A kernel by the channel that it reads: [groups, channels / groups, outputs, taps].

    Outputs are those of the channel's group. A flattened image's Dense has its pixels as taps.
    """
    if type(layer) is keras.layers.Dense:
        return kernel.reshape(-1, 1, channels, kernel.shape[-1]).transpose(1, 2, 3, 0)
    if type(layer) is keras.layers.DepthwiseConv2D:
        taps = kernel.reshape(-1, channels, 1, kernel.shape[-1])
        return taps.transpose(1, 2, 3, 0)
    groups = layer.groups
    return kernel.reshape(-1, channels // groups, groups, kernel.shape[-1] // groups).transpose(
        2, 1, 3, 0
    )


def _times_inputs(layer: Any, kernel: FloatArray, factors: FloatArray) -> FloatArray:
    """The kernel with all weights that read channel i times the i-th factor."""
    if type(layer) is keras.layers.Dense:
        return kernel * np.tile(factors, kernel.shape[0] // factors.size)[:, None]
    if type(layer) is keras.layers.DepthwiseConv2D:
        return kernel * factors[:, None]
    by_group = factors.reshape(layer.groups, -1).T
    return kernel * np.repeat(by_group, kernel.shape[-1] // layer.groups, axis=1)


def _times_outputs(kernel: FloatArray, factors: FloatArray) -> FloatArray:
    return (kernel.reshape(-1, factors.size) * factors).reshape(kernel.shape)


def _move(model: keras.Model, pair: Pair, factors: FloatArray) -> None:
    """Divides the pair's channels where they are made, and multiplies them where they are read."""
    first, second = (model.get_layer(node.name) for node in (pair.first, pair.second))
    second.kernel.assign(_times_inputs(second, _array(second.kernel), factors))
    if pair.norm is None:
        first.kernel.assign(_times_outputs(_array(first.kernel), 1 / factors))
        offset = first.bias
    else:
        norm = model.get_layer(pair.norm.name)
        norm.gamma.assign(_array(norm.gamma) / factors)
        offset = norm.beta
    if offset is not None:
        offset.assign(_array(offset) / factors)
