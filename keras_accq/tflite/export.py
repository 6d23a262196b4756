"""A quantized Keras model as plain TensorFlow operations, and what the file made of them must hold.

The model's graph is walked once inside a `tf.function`. A compute layer waits until its
BatchNormalization and ReLU have been folded into it, and is then written with its integers.
Every tensor's fake quantizer has the whole int8 range: the clamp of a layer's operand to N bits is
no operation of its own, but part of the custom operator that `rewrite` makes of the layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_accq.bounds import Partition, operand_range
from keras_accq.errors import ConversionError
from keras_accq.graph.nodes import Graph, Node
from keras_accq.graph.supported import Kind, kind
from keras_accq.layers import (
    ActivationProduct,
    ActivationQuantizer,
    AttentionSoftmax,
    QuantizedConv1D,
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    QuantizedPReLU,
    QuantizedWeights,
)
from keras_accq.quantizers.operands import Operands
from keras_accq.tflite import emit, in_float
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.fold import (
    Kernel,
    canonical_scales,
    fold_batch_norm,
    silence_dead_channels,
)
from keras_accq.tflite.in_float import InFloat
from keras_accq.tflite.islands import Island
from keras_accq.tflite.moves import moved
from keras_accq.transposed import tflite_padding

_RELUS = {keras.activations.relu: tf.nn.relu, keras.activations.relu6: tf.nn.relu6}
_ARITHMETIC = {
    keras.layers.Add: tf.add,
    keras.layers.Subtract: tf.subtract,
    keras.layers.Multiply: tf.multiply,
}
_FUNCTIONS = {
    keras.activations.sigmoid: tf.sigmoid,
    keras.activations.tanh: tf.tanh,
    keras.activations.gelu: lambda x: tf.nn.gelu(x, approximate=False),
}


@dataclass(frozen=True)
class ExpectedOp:
    """One layer's dot products as the file must hold them.

    Attributes:
        kernel: Folded; its scales are the ones of the file.
        input_grid: Of the tensor it reads.
        operands: The layer's widths.
        gain: What the kernel was multiplied by for an activation folded into it.
        stand_in: A power of two by which the scales are larger in the converter's file.
    """

    kernel: Kernel
    input_grid: Grid
    operands: Operands
    gain: float = 1.0
    stand_in: float = 1.0

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def partition(self) -> Partition | None:
        """None for a layer that is excluded from the constraint."""
        return None if self.operands.acc_bits is None else self.operands.partition

    @property
    def input_range(self) -> tuple[int, int]:
        return operand_range(self.operands.input_bits)


@dataclass(frozen=True)
class ExpectedProduct:
    """Products of two activations as the file must hold them.

    Attributes:
        name: The layer's.
        transpose_b: Whether the second one's last two axes change places.
        grids: Of both tensors.
    """

    name: str
    transpose_b: bool
    grids: tuple[Grid, Grid]


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A compute layer that BatchNormalization and ReLU may still be folded into."""

    layer: QuantizedWeights
    kernel: Kernel
    x: "_Value"
    activation: Callable[[Any], Any] | None = None
    gain: float = 1.0


@dataclass(frozen=True, eq=False)
class _Value:
    """A tensor of the walk.

    Attributes:
        tensor: TensorFlow's.
        grid: Its int8 grid, None while it has none.
        bits: N, where it is a clamped operand; else 8.
        on: Where a tensor without a grid must know the one it gets: makes it for that grid.
    """

    tensor: Any
    grid: Grid | None = None
    bits: int = 8
    on: Callable[[Grid], Any] | None = None


class Exporter:
    """Walks a quantized model.

    Args:
        graph: The model's, from `nodes.read`.
        raw_inputs: Whether inputs are what the Keras model takes; otherwise Rescaling layers are
            left out, and the inputs are what they put out.

    Attributes:
        ops: After a `trace`, the dot products with weights in the order written.
        products: Likewise those of two activations.
        islands: Likewise what is computed in float.
        grids: The grids of all tensors, by the name of their quantizer.

    Raises:
        ValueError: Weights that are not finite, or a range that was never observed.
    """

    def __init__(self, graph: Graph, *, raw_inputs: bool) -> None:
        self._graph = graph
        self._raw_inputs = raw_inputs
        self._done: dict[_Waiting, _Value] = {}
        self.ops: list[ExpectedOp] = []
        self.products: list[ExpectedProduct] = []
        self.islands: list[Island] = []
        # All numbers are read here, since variables can not be read while a function is traced.
        layers = [node.layer for node in graph.nodes]
        self.grids = {
            layer.name: Grid.of(*layer.quantization())
            for layer in layers
            if isinstance(layer, ActivationQuantizer)
        }
        self._kernels = {
            layer.name: _kernel(layer) for layer in layers if isinstance(layer, QuantizedWeights)
        }
        self._slopes = {
            layer.name: _slope(layer)
            for layer in layers
            if isinstance(layer, keras.layers.LeakyReLU | QuantizedPReLU)
        }
        self._statistics = {
            layer.name: _statistics(layer)
            for layer in layers
            if isinstance(layer, keras.layers.BatchNormalization)
        }
        self._affine = {
            layer.name: (_unless_all(layer, layer.gamma, 1.0), _unless_all(layer, layer.beta, 0.0))
            for layer in layers
            if isinstance(layer, keras.layers.LayerNormalization)
        }

    def trace(self, inputs: dict[int, Any]) -> dict[int, Any]:
        """Builds the operations.

        Args:
            inputs: TensorFlow's tensors by the keys of the graph's input tensors.

        Returns:
            TensorFlow's tensors by the keys of the graph's outputs.

        Raises:
            ConversionError: The model is not one that `accq.quantize` makes; names the layer.
        """
        # tf.function may trace more than once.
        for found in (self.ops, self.products, self.islands, self._done):
            found.clear()
        values: dict[int, Any] = {key: _Value(tensor) for key, tensor in inputs.items()}
        for node in self._graph.nodes:
            values[node.output] = node.call(partial(self._visit, node), values)
        return {key: self._written(values[key]).tensor for key in self._graph.outputs()}

    def _visit(self, node: Node, *args: Any, **kwargs: Any) -> "_Value | _Waiting":
        layer = node.layer
        # Layers take their tensors as "inputs" or by position; the rest (training, mask) is of no
        # concern to inference.
        x = args[0] if args else kwargs["inputs"]
        if isinstance(layer, ActivationQuantizer):
            return self._quantize(layer, x, narrow=bool(kwargs.get("narrow")))
        if isinstance(layer, QuantizedWeights):
            return self._compute(layer, x, node.label)
        if isinstance(layer, ActivationProduct):
            return self._product(layer, x, node.label)
        if isinstance(layer, keras.layers.LayerNormalization):
            return self._layer_norm(layer, x, node.label)
        if isinstance(layer, AttentionSoftmax):
            return self._attention(layer, x, node.label)
        handler = self._handlers.get(kind(layer))
        if handler is None:
            raise ConversionError(
                f"layer {layer.name!r}: expected a layer that accq.quantize puts out, came "
                f"{type(layer).__name__}"
            )
        result: _Value | _Waiting = handler(self, layer, x)
        return result

    def _written(self, value: "_Value | _Waiting") -> _Value:
        if isinstance(value, _Value):
            return value
        if value not in self._done:
            self._done[value] = self._write(value)
        return self._done[value]

    def _write(self, value: "_Waiting") -> _Value:
        layer, x = value.layer, value.x
        assert x.grid is not None
        kernel = replace(value.kernel, scales=canonical_scales(value.kernel.scales))
        _check_bias(kernel, x.grid)
        factor = self._stand_in(layer, kernel)
        self.ops.append(ExpectedOp(kernel, x.grid, layer.operands, value.gain, factor))
        written = kernel
        if factor != 1:
            larger = np.float32(factor)
            written = replace(kernel, scales=kernel.scales * larger, bias=kernel.bias * larger)
        return _Value(_write(layer, written, x, value.activation, len(self.ops)))

    def _stand_in(self, layer: QuantizedWeights, kernel: Kernel) -> float:
        """A factor that makes the kernel another than those written before.

        The converter merges equal constants, and quantizes the weights of their second reader anew.
        """
        if isinstance(layer, QuantizedConv2DTranspose):
            return 1.0
        equal = [op for op in self.ops if np.array_equal(op.kernel.by_channel, kernel.by_channel)]
        return float(2 ** len(equal))

    def _quantize(
        self,
        layer: ActivationQuantizer,
        x: "_Value | _Waiting",
        narrow: bool,
    ) -> _Value:
        grid = self.grids[layer.name]
        value = self._written(x)
        bits = layer.bits if narrow else 8
        if value.grid is None:
            low, high = grid.ends
            if high - low <= emit.LEAST_RANGE:
                raise ConversionError(
                    f"layer {layer.name!r}: its 8-bit grid spans {high - low:.3g}, and the "
                    f"converter takes none below {emit.LEAST_RANGE:g}. Has the model been trained? "
                    "The values of random layers shrink to nothing"
                )
            tensor = value.tensor if value.on is None else value.on(grid)
            return _Value(emit.fake_quantize(tensor, grid), grid, bits)
        if value.grid != grid:
            raise ConversionError(
                f"layer {layer.name!r}: expected a tensor without a grid, or with the quantizer's "
                f"own {grid}, came one with {value.grid}; the file would need a QUANTIZE"
            )
        return replace(value, bits=bits)

    def _compute(self, layer: QuantizedWeights, x: "_Value | _Waiting", label: str) -> _Waiting:
        value = self._on_grid(layer, x)
        expected = layer.operands.input_bits
        if value.bits != expected:
            raise ConversionError(
                f"layer {layer.name!r}: expected an input clamped to {expected} bits, came one of "
                f"{value.bits}; a model's layers can not be rewired after accq.quantize"
            )
        kernel = replace(self._kernels[layer.name], name=label)
        waiting = _Waiting(layer, kernel, value)
        if layer.activation is keras.activations.linear:
            return waiting
        if layer.activation not in _RELUS:
            raise ConversionError(
                f"layer {layer.name!r}: activation {layer.activation.__name__!r} is not supported"
            )
        return replace(waiting, activation=_RELUS[layer.activation])

    def _on_grid(self, layer: Any, x: "_Value | _Waiting") -> _Value:
        value = self._written(x)
        if value.grid is None:
            raise ConversionError(
                f"layer {layer.name!r}: expected a quantized input; the file would hold float "
                "tensors. A model's layers can not be rewired after accq.quantize"
            )
        return value

    def _batch_norm(self, layer: Any, x: "_Value | _Waiting") -> _Waiting:
        if not isinstance(x, _Waiting) or x.activation is not None:
            raise ConversionError(
                f"layer {layer.name!r}: BatchNormalization expected right behind a compute layer "
                "without activation"
            )
        kernel = fold_batch_norm(x.kernel, **self._statistics[layer.name], epsilon=layer.epsilon)
        assert x.x.grid is not None
        return replace(x, kernel=silence_dead_channels(kernel, x.x.grid.scale))

    def _relu(self, layer: Any, x: "_Value | _Waiting") -> "_Value | _Waiting":
        if isinstance(layer, keras.layers.ReLU):
            function = tf.nn.relu if layer.max_value is None else tf.nn.relu6
        else:
            function = _RELUS[layer.activation]
        if isinstance(x, _Waiting) and x.activation is None:
            return replace(x, activation=function)
        return _Value(function(self._written(x).tensor))

    def _arithmetic(self, layer: Any, parts: list["_Value | _Waiting"]) -> _Value:
        left, right = (self._whole(layer, part) for part in parts)
        return _Value(_ARITHMETIC[type(layer)](left.tensor, right.tensor))

    def _product(
        self, layer: ActivationProduct, parts: list["_Value | _Waiting"], label: str
    ) -> _Value:
        a, b = (self._whole(layer, part) for part in parts)
        assert a.grid is not None
        assert b.grid is not None
        self.products.append(ExpectedProduct(label, layer.transpose_b, (a.grid, b.grid)))
        return _Value(tf.matmul(a.tensor, b.tensor, transpose_b=layer.transpose_b))

    def _layer_norm(self, layer: Any, x: "_Value | _Waiting", label: str) -> _Value:
        value = self._whole(layer, x)
        made = in_float.layer_norm(value.tensor, layer.epsilon, *self._affine[layer.name])
        return self._in_float(label, value, made)

    def _attention(self, layer: AttentionSoftmax, x: "_Value | _Waiting", label: str) -> _Value:
        value = self._whole(layer, x)
        if layer.causal:
            return self._in_float(label, value, in_float.causal_softmax(value.tensor))
        return _Value(tf.nn.softmax(value.tensor))

    def _in_float(self, label: str, value: _Value, made: InFloat) -> _Value:
        def on(grid: Grid) -> Any:
            assert value.grid is not None
            self.islands.append(Island(label, made, value.grid, grid))
            return made.result

        return _Value(None, on=on)

    def _function(self, layer: Any, x: "_Value | _Waiting") -> _Value:
        value = self._whole(layer, x)
        if layer.name in self._slopes:
            assert value.grid is not None
            slope = self._slopes[layer.name]
            return _Value(None, on=partial(emit.leaky_relu, value.tensor, slope, value.grid))
        return _Value(_FUNCTIONS[layer.activation](value.tensor))

    def _hard_sigmoid(self, layer: Any, x: "_Value | _Waiting") -> _Waiting:
        """x/6 + 1/2; the output's grid, which ends at 0 and 1, does the rest."""
        if not isinstance(x, _Waiting) or x.activation is not None:
            raise ConversionError(
                f"layer {layer.name!r}: hard_sigmoid expected right behind a compute layer without "
                "activation"
            )
        gain = 1 / 6
        kernel = fold_batch_norm(
            x.kernel, gamma=gain, beta=0.5, mean=0.0, variance=1.0, epsilon=0.0
        )
        assert x.x.grid is not None
        kernel = silence_dead_channels(kernel, x.x.grid.scale)
        return replace(x, kernel=kernel, gain=gain * x.gain)

    def _whole(self, layer: Any, x: "_Value | _Waiting") -> _Value:
        """A value that is not clamped: only compute layers clamp in the file."""
        value = self._on_grid(layer, x)
        if value.bits != 8:
            raise ConversionError(
                f"layer {layer.name!r}: reads an operand clamped to {value.bits} bits; only "
                "compute layers can"
            )
        return value

    def _concatenate(self, layer: Any, parts: list["_Value | _Waiting"]) -> _Value:
        values = [self._on_grid(layer, part) for part in parts]
        first = values[0]
        if any((value.grid, value.bits) != (first.grid, first.bits) for value in values):
            raise ConversionError(f"layer {layer.name!r}: its inputs do not share one grid")
        return replace(first, tensor=tf.concat([v.tensor for v in values], layer.axis))

    def _average(self, layer: Any, x: "_Value | _Waiting") -> _Value:
        value = self._whole(layer, x)
        return replace(value, tensor=emit.pool(tf.nn.avg_pool2d, value.tensor, layer))

    def _global_average(self, layer: Any, x: "_Value | _Waiting") -> _Value:
        value = self._whole(layer, x)
        keepdims = getattr(layer, "keepdims", True)
        axes = list(range(1, len(value.tensor.shape) - 1))
        return _Value(tf.reduce_mean(value.tensor, axes, keepdims=keepdims))

    def _softmax(self, layer: Any, x: "_Value | _Waiting") -> _Value:
        return _Value(tf.nn.softmax(self._whole(layer, x).tensor))

    def _rescale(self, layer: Any, x: _Value) -> _Value:
        if not self._raw_inputs:
            return x
        return _Value(x.tensor * float(layer.scale) + float(layer.offset))

    def _pass(self, layer: Any, x: "_Value | _Waiting") -> "_Value | _Waiting":
        if isinstance(layer, keras.layers.Dropout | keras.layers.Activation):
            return x
        value = self._on_grid(layer, x)
        return replace(value, tensor=moved(layer, value.tensor))

    _handlers: ClassVar[dict[Kind | None, Callable[..., Any]]] = {
        Kind.BATCH_NORM: _batch_norm,
        Kind.RELU: _relu,
        Kind.ARITHMETIC: _arithmetic,
        Kind.FUNCTION: _function,
        Kind.GATE: _function,
        Kind.HARD_SIGMOID: _hard_sigmoid,
        Kind.CONCATENATE: _concatenate,
        Kind.PASS: _pass,
        Kind.AVERAGE: _average,
        Kind.GLOBAL_AVERAGE: _global_average,
        Kind.SOFTMAX: _softmax,
        Kind.RESCALING: _rescale,
    }


def _kernel(layer: QuantizedWeights) -> Kernel:
    q, scales = layer.quantized_kernel()
    if isinstance(layer, QuantizedConv2DTranspose):
        q = q.swapaxes(2, 3)
    if isinstance(layer, QuantizedConv1D):
        q = q[None]
    if isinstance(layer, QuantizedDepthwiseConv2D):
        q = q.reshape(*q.shape[:2], 1, -1)
    bias = np.zeros(scales.shape) if layer.bias is None else _numbers(layer, layer.bias)
    return Kernel(layer.name, q, scales, bias.astype(np.float32))


def _statistics(layer: Any) -> dict[str, Any]:
    """The arguments of fold_batch_norm."""
    mean = _numbers(layer, layer.moving_mean)
    return {
        "gamma": np.ones_like(mean) if layer.gamma is None else _numbers(layer, layer.gamma),
        "beta": np.zeros_like(mean) if layer.beta is None else _numbers(layer, layer.beta),
        "mean": mean,
        "variance": _numbers(layer, layer.moving_variance),
    }


def _unless_all(layer: Any, variable: Any, value: float) -> NDArray[np.float32] | None:
    """A variable's numbers, or None if there is none or all are that value."""
    if variable is None:
        return None
    numbers = _numbers(layer, variable).astype(np.float32)
    return None if (numbers == value).all() else numbers


def _slope(layer: Any) -> NDArray[np.float32]:
    """By what negative values are multiplied: float32 that broadcasts to an example."""
    if isinstance(layer, QuantizedPReLU):
        return layer.quantized_alpha()
    return np.full((1,), layer.negative_slope, np.float32)


def _numbers(layer: Any, variable: Any) -> NDArray[Any]:
    array: NDArray[Any] = keras.ops.convert_to_numpy(variable)
    if not np.isfinite(array).all():
        raise ValueError(
            f"layer {layer.name!r}: expected finite weights, {variable.name!r} holds NaN or "
            "infinity; did the training diverge?"
        )
    return array


def _write(
    layer: QuantizedWeights,
    kernel: Kernel,
    value: _Value,
    activation: Callable[[Any], Any] | None,
    number: int,
) -> Any:
    x = value.tensor
    activated = activation or tf.identity
    if isinstance(layer, QuantizedDense):
        return activated(emit.dense(x, kernel))
    if isinstance(layer, QuantizedConv2DTranspose):
        assert value.grid is not None
        settings = layer.kernel_size, layer.strides, layer.padding, layer.output_padding
        y = emit.transposed_conv2d(
            x,
            kernel,
            strides=tuple(layer.strides),
            padding=tflite_padding(*settings),
            size=tuple(layer.compute_output_shape(x.shape)[1:3]),
            mark=number * value.grid.scale,
        )
        return activated(y)
    if isinstance(layer, QuantizedConv1D):
        y = emit.conv2d(
            emit.as_image(x),
            kernel,
            strides=(1, *layer.strides),
            padding=layer.padding,
            dilation=(1, *layer.dilation_rate),
        )
        return emit.as_sequence(activated(y))
    assert isinstance(layer, QuantizedConv2D | QuantizedDepthwiseConv2D)
    write = emit.conv2d if isinstance(layer, QuantizedConv2D) else emit.depthwise_conv2d
    y = write(
        x,
        kernel,
        strides=tuple(layer.strides),
        padding=layer.padding,
        dilation=tuple(layer.dilation_rate),
    )
    return activated(y)


def _check_bias(kernel: Kernel, grid: Grid) -> None:
    units = np.abs(kernel.bias.astype(np.float64)) / (kernel.scales.astype(np.float64) * grid.scale)
    channel = int(np.argmax(units))
    if not units[channel] < 2.0**31:
        raise ConversionError(
            f"layer {kernel.name!r}, channel {channel}: the bias {kernel.bias[channel]} is "
            f"{units[channel]:.3g} units of the accumulator, which does not fit 32 bits "
            f"(weight scale {kernel.scales[channel]}, input scale {grid.scale})"
        )
