"""Builders of small `.tflite` files for tests, straight through the schema's object API.

`GraphBuilder` assembles any graph; the functions below it write one-operator models and the few
small graphs that several tests share. Arrays are NumPy, everything else is a keyword argument;
the result is the file's bytes. They go through `ai_edge_litert`'s generated schema, not through
keras_accq's own reader and writer, so that a mistake there can not hide itself.
"""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike

Op = schema.BuiltinOperator
PADDING = {"SAME": 0, "VALID": 1}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int8): schema.TensorType.INT8,
}
# The operator version in which stock LiteRT's kernel first took int8 tensors.
_INT8_VERSION = {
    Op.CONV_2D: 3,
    Op.DEPTHWISE_CONV_2D: 3,
    Op.FULLY_CONNECTED: 4,
    Op.TRANSPOSE_CONV: 4,
    Op.ADD: 2,
    Op.MAXIMUM: 2,
    Op.MINIMUM: 2,
}


class GraphBuilder:
    """One subgraph under construction; indices returned are those of the file.

    Args:
        description: The model's description field.
    """

    def __init__(self, description: str = "test") -> None:
        self.model = schema.ModelT(version=3, description=description.encode())
        self.model.buffers = [schema.BufferT()]  # Buffer 0 is empty by convention.
        self.model.operatorCodes = []
        self.subgraph = schema.SubGraphT(name=b"main")
        self.subgraph.tensors = []
        self.subgraph.operators = []
        self.model.subgraphs = [self.subgraph]

    def buffer(self, data: bytes) -> int:
        """Appends a buffer and returns its index."""
        self.model.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
        return len(self.model.buffers) - 1

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        *,
        dtype: Any = np.int8,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike = 0,
        axis: int = 0,
        data: np.ndarray | None = None,
        shape_signature: Sequence[int] | None = None,
        is_variable: bool = False,
    ) -> int:
        """Appends a tensor and returns its index; `data` makes it a constant."""
        tensor = schema.TensorT(
            name=name.encode(), type=_TYPES[np.dtype(dtype)], isVariable=is_variable, hasRank=True
        )
        tensor.shape = np.asarray(shape, np.int32)
        if shape_signature is not None:
            tensor.shapeSignature = np.asarray(shape_signature, np.int32)
        if data is not None:
            tensor.buffer = self.buffer(np.ascontiguousarray(data, dtype).tobytes())
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            zeros = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
            tensor.quantization = schema.QuantizationParametersT(
                scale=scales, zeroPoint=zeros, quantizedDimension=axis
            )
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def op(
        self,
        code: int | str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        options: Any = None,
        custom_options: bytes | None = None,
        version: int | None = None,
    ) -> int:
        """Appends an operator (a builtin's number or a custom op's name) and returns its index."""
        if isinstance(code, str):
            builtin, custom = Op.CUSTOM, code.encode()
        else:
            builtin, custom = code, None
        entry = schema.OperatorCodeT(
            builtinCode=builtin,
            deprecatedBuiltinCode=min(builtin, 127),
            customCode=custom,
            version=_INT8_VERSION.get(builtin, 1) if version is None else version,
        )
        known = [vars(e) for e in self.model.operatorCodes]
        if vars(entry) not in known:
            self.model.operatorCodes.append(entry)
            known.append(vars(entry))
        operator = schema.OperatorT(opcodeIndex=known.index(vars(entry)))
        operator.inputs = np.asarray(inputs, np.int32)
        operator.outputs = np.asarray(outputs, np.int32)
        if options is not None:
            operator.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
            operator.builtinOptions = options
        if custom_options is not None:
            operator.customOptions = np.frombuffer(custom_options, np.uint8)
        self.subgraph.operators.append(operator)
        return len(self.subgraph.operators) - 1

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Packs the model; `inputs` and `outputs` are the graph's tensors."""
        self.subgraph.inputs = np.asarray(inputs, np.int32)
        self.subgraph.outputs = np.asarray(outputs, np.int32)
        return pack(self.model)


def pack(model: Any) -> bytes:
    """Serializes an object-API model."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes) -> Any:
    """The object-API model (`ModelT`) of a file, for inspection and for breaking it."""
    return schema.ModelT.InitFromPackedBuf(bytearray(data))


def _output_size(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)


def _weights_and_bias(
    graph: GraphBuilder,
    name: str,
    weights: np.ndarray,
    bias: np.ndarray | None,
    input_scale: float,
    weight_scale: ArrayLike,
    axis: int,
) -> list[int]:
    scales = np.atleast_1d(np.asarray(weight_scale, np.float32))
    tensors = [
        graph.tensor(
            f"{name}/weights", weights.shape, scale=scales, axis=axis, data=weights.astype(np.int8)
        )
    ]
    if bias is None:
        return [*tensors, -1]
    return [
        *tensors,
        graph.tensor(
            f"{name}/bias",
            np.shape(bias),
            dtype=np.int32,
            scale=np.float32(input_scale) * scales,
            data=np.asarray(bias, np.int32),
        ),
    ]


def add_conv2d(
    graph: GraphBuilder,
    x: int,
    weights: np.ndarray,
    *,
    name: str = "conv",
    bias: np.ndarray | None = None,
    weight_scale: ArrayLike = 0.01,
    output_scale: float = 0.1,
    output_zero: int = 0,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    activation: int = NONE,
    custom_options: bytes | None = None,
) -> int:
    """CONV_2D (or `AccqConv2D` with `custom_options`) on tensor `x`; returns the output tensor.

    `weights` is [out_channels, kernel_h, kernel_w, in_channels / groups].
    """
    source = graph.subgraph.tensors[x]
    if bias is None and custom_options is None:
        bias = np.zeros(len(weights))  # Stock LiteRT's int8 CONV_2D insists on a bias.
    n, h, w, _ = source.shape
    out = [
        n,
        _output_size(h, weights.shape[1], stride[0], dilation[0], padding),
        _output_size(w, weights.shape[2], stride[1], dilation[1], padding),
        weights.shape[0],
    ]
    inputs = [
        x,
        *_weights_and_bias(
            graph, name, weights, bias, source.quantization.scale[0], weight_scale, axis=0
        ),
    ]
    y = graph.tensor(name, out, scale=output_scale, zero_point=output_zero)
    if custom_options is not None:
        graph.op("AccqConv2D", inputs, [y], custom_options=custom_options)
        return y
    options = schema.Conv2DOptionsT(
        padding=PADDING[padding],
        strideH=stride[0],
        strideW=stride[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=activation,
    )
    graph.op(Op.CONV_2D, inputs, [y], options=options)
    return y


def add_depthwise_conv2d(
    graph: GraphBuilder,
    x: int,
    weights: np.ndarray,
    *,
    name: str = "depthwise",
    bias: np.ndarray | None = None,
    weight_scale: ArrayLike = 0.01,
    output_scale: float = 0.1,
    output_zero: int = 0,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    activation: int = NONE,
    custom_options: bytes | None = None,
) -> int:
    """DEPTHWISE_CONV_2D (or `AccqDepthwiseConv2D`) on tensor `x`; returns the output tensor.

    `weights` is [1, kernel_h, kernel_w, out_channels].
    """
    source = graph.subgraph.tensors[x]
    n, h, w, channels = source.shape
    out = [
        n,
        _output_size(h, weights.shape[1], stride[0], dilation[0], padding),
        _output_size(w, weights.shape[2], stride[1], dilation[1], padding),
        weights.shape[3],
    ]
    inputs = [
        x,
        *_weights_and_bias(
            graph, name, weights, bias, source.quantization.scale[0], weight_scale, axis=3
        ),
    ]
    y = graph.tensor(name, out, scale=output_scale, zero_point=output_zero)
    if custom_options is not None:
        graph.op("AccqDepthwiseConv2D", inputs, [y], custom_options=custom_options)
        return y
    if bias is None:  # Stock LiteRT's takes a bias that is missing, but not one of -1.
        inputs.pop()
    options = schema.DepthwiseConv2DOptionsT(
        padding=PADDING[padding],
        strideH=stride[0],
        strideW=stride[1],
        depthMultiplier=weights.shape[3] // int(channels),
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=activation,
    )
    graph.op(Op.DEPTHWISE_CONV_2D, inputs, [y], options=options)
    return y


def add_transpose_conv(
    graph: GraphBuilder,
    x: int,
    weights: np.ndarray,
    *,
    name: str = "transposed",
    bias: np.ndarray | None = None,
    weight_scale: ArrayLike = 0.01,
    output_scale: float = 0.1,
    output_zero: int = 0,
    stride: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    output_size: tuple[int, int] | None = None,
    activation: int = NONE,
    custom_options: bytes | None = None,
) -> int:
    """TRANSPOSE_CONV (or `AccqTransposeConv`) on tensor `x`; returns the output tensor.

    `weights` is [out_channels, kernel_h, kernel_w, in_channels]. `output_size` is by default
    size * stride with SAME padding, and the least with VALID.
    """
    source = graph.subgraph.tensors[x]
    n, *size, _ = (int(d) for d in source.shape)
    if output_size is None:
        kernel = weights.shape[1:3]
        output_size = tuple(
            size[i] * stride[i] if padding == "SAME" else (size[i] - 1) * stride[i] + kernel[i]
            for i in range(2)
        )
    out = [n, *output_size, weights.shape[0]]
    shape = graph.tensor(f"{name}/shape", [4], dtype=np.int32, data=np.asarray(out, np.int32))
    w, b = _weights_and_bias(
        graph, name, weights, bias, source.quantization.scale[0], weight_scale, axis=0
    )
    inputs = [shape, w, x, b]
    y = graph.tensor(name, out, scale=output_scale, zero_point=output_zero)
    if custom_options is not None:
        graph.op("AccqTransposeConv", inputs, [y], custom_options=custom_options)
        return y
    options = schema.TransposeConvOptionsT(
        padding=PADDING[padding],
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=activation,
    )
    graph.op(Op.TRANSPOSE_CONV, inputs if b >= 0 else inputs[:3], [y], options=options)
    return y


def add_fully_connected(
    graph: GraphBuilder,
    x: int,
    weights: np.ndarray,
    *,
    name: str = "dense",
    bias: np.ndarray | None = None,
    weight_scale: ArrayLike = 0.01,
    output_scale: float = 0.1,
    output_zero: int = 0,
    activation: int = NONE,
    keep_num_dims: bool = False,
    custom_options: bytes | None = None,
) -> int:
    """FULLY_CONNECTED (or `AccqFullyConnected`) on tensor `x`; returns the output tensor.

    `weights` is [units, features].
    """
    source = graph.subgraph.tensors[x]
    shape = [int(d) for d in source.shape]
    units, features = weights.shape
    rows = int(np.prod(shape)) // features
    out = [*shape[:-1], units] if keep_num_dims else [rows, units]
    inputs = [
        x,
        *_weights_and_bias(
            graph, name, weights, bias, source.quantization.scale[0], weight_scale, axis=0
        ),
    ]
    y = graph.tensor(name, out, scale=output_scale, zero_point=output_zero)
    if custom_options is not None:
        graph.op("AccqFullyConnected", inputs, [y], custom_options=custom_options)
        return y
    options = schema.FullyConnectedOptionsT(
        fusedActivationFunction=activation, keepNumDims=keep_num_dims
    )
    graph.op(Op.FULLY_CONNECTED, inputs, [y], options=options, version=5 if keep_num_dims else None)
    return y


def add_clamp(graph: GraphBuilder, x: int, low: int, high: int, *, name: str = "clamp") -> int:
    """int8 MAXIMUM with `low`, then MINIMUM with `high`, on x's own grid; returns the output."""
    source = graph.subgraph.tensors[x]
    scale, zero = source.quantization.scale[0], source.quantization.zeroPoint[0]
    for code, value, part in ((Op.MAXIMUM, low, "low"), (Op.MINIMUM, high, "high")):
        constant = graph.tensor(
            f"{name}/{part}", [], scale=scale, zero_point=zero, data=np.asarray(value, np.int8)
        )
        y = graph.tensor(f"{name}/{part}_out", source.shape, scale=scale, zero_point=zero)
        graph.op(code, [x, constant], [y], options=schema.MaximumMinimumOptionsT())
        x = y
    return x


def add_add(
    graph: GraphBuilder,
    a: int,
    b: int,
    *,
    name: str = "add",
    output_scale: float = 0.1,
    output_zero: int = 0,
    activation: int = NONE,
) -> int:
    """int8 ADD of two tensors of one shape; returns the output tensor."""
    y = graph.tensor(
        name, graph.subgraph.tensors[a].shape, scale=output_scale, zero_point=output_zero
    )
    graph.op(Op.ADD, [a, b], [y], options=schema.AddOptionsT(fusedActivationFunction=activation))
    return y


def add_reshape(graph: GraphBuilder, x: int, shape: Sequence[int], *, name: str = "reshape") -> int:
    """RESHAPE to `shape` (one -1 allowed), on x's own grid; returns the output tensor."""
    source = graph.subgraph.tensors[x]
    count = int(np.prod(source.shape))
    known = int(np.prod([d for d in shape if d != -1]))
    full = [count // known if d == -1 else d for d in shape]
    target = graph.tensor(
        f"{name}/shape", [len(shape)], dtype=np.int32, data=np.asarray(shape, np.int32)
    )
    y = graph.tensor(
        name,
        full,
        scale=source.quantization.scale[0],
        zero_point=source.quantization.zeroPoint[0],
    )
    options = schema.ReshapeOptionsT(newShape=np.asarray(shape, np.int32))
    graph.op(Op.RESHAPE, [x, target], [y], options=options)
    return y


def add_dense_as_conv(
    graph: GraphBuilder, x: int, weights: np.ndarray, *, name: str = "dense", **conv: Any
) -> int:
    """RESHAPE -> 1x1 CONV_2D -> RESHAPE on a [rows, features] tensor: a per-channel Dense.

    `weights` is [units, features]; further arguments are those of `add_conv2d`.
    """
    units, features = weights.shape
    rows = int(graph.subgraph.tensors[x].shape[0])
    image = add_reshape(graph, x, [rows, 1, 1, features], name=f"{name}/in")
    y = add_conv2d(
        graph, image, weights.reshape(units, 1, 1, features), name=f"{name}/conv", **conv
    )
    return add_reshape(graph, y, [rows, units], name=name)


def _single(add: Any, weights: np.ndarray, input_shape: Sequence[int], options: Any) -> bytes:
    graph = GraphBuilder()
    x = graph.tensor(
        "input",
        input_shape,
        scale=options.pop("input_scale", 0.05),
        zero_point=options.pop("input_zero", 0),
        shape_signature=options.pop("shape_signature", None),
    )
    low, high = options.pop("clamp", (-128, 127))
    operand = x if (low, high) == (-128, 127) else add_clamp(graph, x, low, high)
    return graph.build([x], [add(graph, operand, np.asarray(weights), **options)])


def conv2d(weights: np.ndarray, input_shape: Sequence[int], **options: Any) -> bytes:
    """A model of one convolution on an NHWC `input_shape`.

    Options: `input_scale`, `input_zero`, `shape_signature`, `clamp` of the operand (least and
    greatest), and those of `add_conv2d`.
    """
    return _single(add_conv2d, weights, input_shape, options)


def depthwise_conv2d(weights: np.ndarray, input_shape: Sequence[int], **options: Any) -> bytes:
    """A model of one depthwise convolution; options as for `conv2d`."""
    return _single(add_depthwise_conv2d, weights, input_shape, options)


def transpose_conv(weights: np.ndarray, input_shape: Sequence[int], **options: Any) -> bytes:
    """A model of one transposed convolution; options as for `conv2d`, with `output_size`."""
    return _single(add_transpose_conv, weights, input_shape, options)


def fully_connected(weights: np.ndarray, input_shape: Sequence[int], **options: Any) -> bytes:
    """A model of one fully-connected layer; options as for `conv2d`, with `keep_num_dims`."""
    return _single(add_fully_connected, weights, input_shape, options)


def dense_as_conv(weights: np.ndarray, input_shape: Sequence[int], **options: Any) -> bytes:
    """A model of RESHAPE -> 1x1 CONV_2D -> RESHAPE; options as for `conv2d`."""
    return _single(add_dense_as_conv, weights, input_shape, options)


def residual(
    rng: np.random.Generator, *, size: int = 6, channels: int = 4, clamp: tuple[int, int] = (-8, 7)
) -> bytes:
    """Two 3x3 convolutions and an ADD with the input: the second conv reads a clamped tensor.

    The unclamped tensor goes on to the ADD, so the clamp must stay with its consumer.
    """
    graph = GraphBuilder()
    x = graph.tensor("input", [1, size, size, channels], scale=0.05, zero_point=3)
    shape = (channels, 3, 3, channels)
    scales = rng.uniform(0.005, 0.02, channels)
    first = add_conv2d(
        graph,
        x,
        rng.integers(-127, 128, shape),
        name="first",
        bias=rng.integers(-1000, 1000, channels),
        weight_scale=scales,
        output_scale=0.2,
        output_zero=-8,
        activation=RELU,
    )
    second = add_conv2d(
        graph,
        add_clamp(graph, first, *clamp),
        rng.integers(-127, 128, shape),
        name="second",
        bias=rng.integers(-1000, 1000, channels),
        weight_scale=scales,
        output_scale=0.3,
        output_zero=5,
    )
    return graph.build([x], [add_add(graph, first, second, output_scale=0.4, output_zero=-20)])


def run(data: bytes, *inputs: np.ndarray, **interpreter: Any) -> list[np.ndarray]:
    """Outputs of a file in stock LiteRT; keyword arguments go to its Interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    runtime = Interpreter(model_content=data, **interpreter)
    for detail, value in zip(runtime.get_input_details(), inputs, strict=True):
        if tuple(detail["shape"]) != value.shape:
            runtime.resize_tensor_input(detail["index"], value.shape)
    runtime.allocate_tensors()
    for detail, value in zip(runtime.get_input_details(), inputs, strict=True):
        runtime.set_tensor(detail["index"], value)
    runtime.invoke()
    return [runtime.get_tensor(d["index"]) for d in runtime.get_output_details()]
