"""Every dot-product operator of a model as one normalized record, ours and the built-ins alike."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from keras_accq.bounds import Partition, worst_case
from keras_accq.errors import InvalidFileError
from keras_accq.reference import multipliers
from keras_accq.tflite import options as blob
from keras_accq.tflite.claims import Claim, Claims, read_claims
from keras_accq.tflite.patterns import INT8_RANGE, dense_as_conv, value_range
from keras_accq.tflite.reader import Model, Operator, Subgraph, Tensor
from keras_accq.tflite.schema import TENSOR_TYPES
from keras_accq.transposed import Axis, Padding, Phase, phases

# Schema name or custom name -> kind.
KINDS = {
    "CONV_2D": "conv2d",
    "DEPTHWISE_CONV_2D": "depthwise_conv2d",
    "FULLY_CONNECTED": "fully_connected",
    "TRANSPOSE_CONV": "transpose_conv",
    blob.CONV_2D: "conv2d",
    blob.DEPTHWISE_CONV_2D: "depthwise_conv2d",
    blob.FULLY_CONNECTED: "fully_connected",
    blob.TRANSPOSE_CONV: "transpose_conv",
}
# Kind -> our custom operator.
CUSTOM_NAMES = {
    "conv2d": blob.CONV_2D,
    "depthwise_conv2d": blob.DEPTHWISE_CONV_2D,
    "fully_connected": blob.FULLY_CONNECTED,
    "transpose_conv": blob.TRANSPOSE_CONV,
}
# Built-ins that also sum products and that nothing of ours computes: listed, never passed over.
_OTHER_DOT_PRODUCTS = {
    "CONV_3D",
    "CONV_3D_TRANSPOSE",
    "BATCH_MATMUL",
    "SVDF",
    "RNN",
    "LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "STABLEHLO_CONVOLUTION",
    "STABLEHLO_DOT_GENERAL",
}

_INT32_MAX = 2**31 - 1
_UNSET = 0  # FLOAT32, which no quantized bias has.
_MAX_MULTIPLIER = 256.0
# Where a scale, or input scale times weight scale, is denormal, stock LiteRT leaves XNNPACK for a
# kernel of other arithmetic.
_LEAST_SCALE = float(np.finfo(np.float32).tiny)
_PADDINGS = {blob.SAME: "SAME", blob.VALID: "VALID"}


class _RefusedError(Exception):
    """Why an operator can not be taken; its text becomes `QuantizedOp.reason`."""


def _no_floats() -> np.ndarray:
    return np.empty(0, np.float32)


@dataclass(eq=False)
class QuantizedOp:
    """One convolution, depthwise or transposed convolution, or fully-connected layer.

    Attributes:
        subgraph: The subgraph's place in the model.
        index: The operator's place in the subgraph.
        op: The operator's name in the file, like "CONV_2D" or "AccqConv2D".
        name: The output tensor's name; of RESHAPE, 1x1 CONV_2D, RESHAPE the last one's.
        kind: "conv2d", "depthwise_conv2d", "fully_connected", "transpose_conv"; the lower-case
            name of the operator for another one that sums products.
        custom: Whether it is one of ours.
        reason: None, or why it can not be taken. What follows is meaningful only when it is None.
        input, output: Tensor indices.
        weights_tensor: Tensor index.
        bias_tensor: Tensor index, or -1.
        shape_tensor: Tensor index of a transposed convolution's output shape, else -1.
        bias: int32 [channels], or None.
        s_x, z_x, s_y, z_y: Scale (float32 as float) and zero point of input and output.
        s_w: float32 [channels], also where the file has one scale for all.
        multiplier: float32 [channels], fl32(fl32(s_x * s_w) / s_y), in (0, 256).
        in_min, in_max: The operand's range: a custom operator clamps its input to it; the input of
            a built-in keeps it because of the clamps that produce it. It holds z_x where
            `pads` is true.
        out_min, out_max: The output range after the activation, [-128, 127] for a built-in.
        activation: TFLite's number: 0 none, 1 RELU, 2 RELU_N1_TO_1, 3 RELU6.
        acc_bits: Bits of the accumulator that the operator was made for; 16 if nothing says.
        partition: How its products are meant to be split, or None where nothing is claimed.
        padding: "SAME" or "VALID".
        filter_h, filter_w, stride_h, stride_w, dilation_h, dilation_w: Geometry of the window.
        axes: Height and width of a transposed convolution; None for the other kinds.
        depth_multiplier: Outputs per input channel of a depthwise convolution.
        groups: Groups of a convolution.
        keep_num_dims: Whether a fully-connected output keeps the input's leading dimensions.
        form: What built-ins an AccqFullyConnected stands for, see `options`.
    """

    subgraph: int
    index: int
    op: str
    name: str
    kind: str
    custom: bool
    reason: str | None = None
    input: int = -1
    output: int = -1
    weights_tensor: int = -1
    bias_tensor: int = -1
    shape_tensor: int = -1
    bias: np.ndarray | None = field(default=None, repr=False)
    s_x: float = 0.0
    z_x: int = 0
    s_y: float = 0.0
    z_y: int = 0
    s_w: np.ndarray = field(default_factory=_no_floats, repr=False)
    multiplier: np.ndarray = field(default_factory=_no_floats, repr=False)
    in_min: int = INT8_RANGE[0]
    in_max: int = INT8_RANGE[1]
    out_min: int = INT8_RANGE[0]
    out_max: int = INT8_RANGE[1]
    activation: int = 0
    acc_bits: int = 16
    partition: Partition | None = None
    padding: str = "VALID"
    filter_h: int = 1
    filter_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    axes: tuple[Axis, Axis] | None = None
    depth_multiplier: int = 1
    groups: int = 1
    keep_num_dims: bool = False
    form: int = blob.FORM_FULLY_CONNECTED
    _weights: np.ndarray | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"operator {self.index} ({self.op}, {self.name!r}) of subgraph {self.subgraph}"

    def weights(self) -> np.ndarray:
        """The weights, int8 [channels, K], K in the file's order (kh, kw, cin per group).

        Raises:
            ValueError: The operator can not be taken.
        """
        if self._weights is None:
            raise ValueError(f"{self} has no usable weights: {self.reason}")
        if self.kind == "depthwise_conv2d":
            return self._weights.reshape(-1, self._weights.shape[-1]).T
        return self._weights.reshape(self._weights.shape[0], -1)

    @property
    def channels(self) -> int:
        """How many output channels it has."""
        return len(self.s_w)

    @property
    def pads(self) -> bool:
        """Whether the zero point stands in for inputs that are not there."""
        return self.padding == "SAME" or self.kind == "transpose_conv"

    def phases(self) -> list[Phase]:
        """What the outputs of a transposed convolution sum; the whole of K for other kinds."""
        k = self.weights().shape[1]
        if self.kind != "transpose_conv":
            return [Phase(np.arange(k), k)]
        kernel, strides = (self.filter_h, self.filter_w), (self.stride_h, self.stride_w)
        return list(phases(kernel, strides, k // (self.filter_h * self.filter_w)))


def quantized_ops(model: Model) -> list[QuantizedOp]:
    """All dot-product operators of a model, in the file's order.

    Args:
        model: As `reader.load` gives it.

    Returns:
        One record per operator, those that can not be taken included, with the reason.

    Raises:
        InvalidFileError: The options of a custom operator of ours, or our metadata, are damaged or
            of a newer version.
    """
    claims = read_claims(model)
    return [
        _record(graph, op, claims)
        for graph in model.subgraphs
        for op in graph.operators
        if op.name in CUSTOM_NAMES.values()
        or (not op.custom and (op.name in KINDS or op.name in _OTHER_DOT_PRODUCTS))
    ]


def _record(graph: Subgraph, op: Operator, claims: Claims) -> QuantizedOp:
    dense = None if op.custom else dense_as_conv(graph, op)
    names = [graph.tensors[t].name for t in (dense.after if dense else op).outputs if t >= 0]
    name = names[0] if names else ""
    kind = KINDS.get(op.name, op.name.lower())
    record = QuantizedOp(graph.index, op.index, op.name, name, kind, op.custom)
    try:
        if op.name == "BATCH_MATMUL" and _multiplies_activations(graph, op):
            raise _RefusedError(
                "a product of two activations is not bounded by this certificate: it stays a "
                "built-in with 32-bit sums"
            )
        if op.name in _OTHER_DOT_PRODUCTS:
            raise _RefusedError(f"keras-accq has no operator for {op.name}")
        if op.custom:
            _take_custom_options(record, op)
        else:
            _take_builtin_options(record, op)
            claim = claims.get((graph.index, name), Claim(16, None))
            record.acc_bits, record.partition = claim
        _take_tensors(record, graph, op)
        _take_geometry(record, graph)
        if not op.custom:
            _take_input_range(record, graph)
        _check_arithmetic(record)
    except _RefusedError as refused:
        record.reason = str(refused)
    return record


def _multiplies_activations(graph: Subgraph, op: Operator) -> bool:
    """Whether all that an operator reads is int8 and computed."""
    read = [graph.tensors[t] for t in op.inputs if t >= 0]
    return all(tensor.raw is None and tensor.type == "INT8" for tensor in read)


def _take_custom_options(record: QuantizedOp, op: Operator) -> None:
    try:
        values = blob.decode(op.name, op.custom_options)
    except InvalidFileError as error:
        raise InvalidFileError(f"{record}: {error}") from error
    record.partition = blob.option_partition(values)
    for key in values.keys() - {"version", "partition", "partition_size", "padding"}:
        setattr(record, key, values[key])
    record.keep_num_dims = bool(values.get("keep_num_dims", 0))
    record.padding = _PADDINGS[values.get("padding", blob.VALID)]


def _take_builtin_options(record: QuantizedOp, op: Operator) -> None:
    values = op.options
    activation = values.get("fused_activation_function", 0)
    if activation not in range(4):
        raise _RefusedError(
            f"its activation is number {activation}; only none, RELU, RELU_N1_TO_1 and RELU6 "
            "(0 to 3) are taken"
        )
    record.activation = activation
    if values.get("quantized_bias_type", 0) not in (_UNSET, TENSOR_TYPES.index("INT32")):
        raise _RefusedError("its options ask for a bias that is not INT32")
    if record.kind == "fully_connected":
        if values.get("weights_format", 0):
            raise _RefusedError("its weights are stored shuffled; only the default format is taken")
        if values.get("asymmetric_quantize_inputs", False):
            raise _RefusedError("it quantizes its inputs while running (asymmetric hybrid)")
        if "quant_spec" in values:
            raise _RefusedError("it has a quantization specification of its own (quant_spec)")
        record.keep_num_dims = values.get("keep_num_dims", False)
        return
    padding = values.get("padding", blob.SAME)
    if padding not in _PADDINGS:
        raise _RefusedError(f"its padding is number {padding}; only SAME (0) and VALID (1) are")
    record.padding = _PADDINGS[padding]
    record.stride_h, record.stride_w = values.get("stride_h", 0), values.get("stride_w", 0)
    record.dilation_h = values.get("dilation_h_factor", 1)
    record.dilation_w = values.get("dilation_w_factor", 1)
    record.depth_multiplier = values.get("depth_multiplier", 0)
    for key in ("stride_h", "stride_w", "dilation_h", "dilation_w"):
        if getattr(record, key) < 1:
            raise _RefusedError(f"its {key} is {getattr(record, key)}; at least 1 is needed")


def _take_tensors(record: QuantizedOp, graph: Subgraph, op: Operator) -> None:
    transposed = record.kind == "transpose_conv"
    roles = ("output shape", "weights", "input") if transposed else ("input", "weights")
    count = len(roles)
    if (
        len(op.inputs) not in (count, count + 1)
        or len(op.outputs) != 1
        or -1 in (*op.inputs[:count], *op.outputs)
    ):
        raise _RefusedError(
            f"it has inputs {list(op.inputs)} and outputs {list(op.outputs)}; an "
            f"{', '.join(roles)}, an optional bias, and one output are needed"
        )
    by_role = {role: graph.tensors[t] for role, t in zip(roles, op.inputs, strict=False)}
    x, w = by_role["input"], by_role["weights"]
    if transposed:
        record.shape_tensor = by_role["output shape"].index
    y = graph.tensors[op.outputs[0]]
    record.input, record.weights_tensor, record.output = x.index, w.index, y.index
    for role, tensor in (("input", x), ("weights", w), ("output", y)):
        if tensor.type != "INT8":
            raise _RefusedError(f"its {role} {tensor.name!r} is {tensor.type}; only INT8 is taken")
    if w.raw is None or w.storage:
        raise _RefusedError(
            f"its weights {w.name!r} are {w.storage or 'computed'}; plain constants are needed"
        )
    record.s_x, record.z_x = _per_tensor(x, "input")
    record.s_y, record.z_y = _per_tensor(y, "output")
    axis, rank = {
        "conv2d": (0, 4),
        "depthwise_conv2d": (3, 4),
        "fully_connected": (0, 2),
        "transpose_conv": (0, 4),
    }[record.kind]
    if len(w.shape) != rank or 0 in w.shape:
        raise _RefusedError(
            f"its weights {w.name!r} have shape {list(w.shape)}; {rank} positive dimensions are "
            "needed"
        )
    record.s_w = _weight_scales(w, axis)
    record._weights = w.array()
    if len(op.inputs) > count and op.inputs[count] != -1:
        bias = graph.tensors[op.inputs[count]]
        if bias.type != "INT32" or bias.raw is None or bias.storage:
            raise _RefusedError(f"its bias {bias.name!r} is no INT32 constant")
        if bias.shape != (record.channels,):
            raise _RefusedError(
                f"its bias {bias.name!r} has {bias.elements} elements for {record.channels} "
                f"channels, in the shape {list(bias.shape)}"
            )
        record.bias_tensor = bias.index
        record.bias = bias.array().reshape(-1)


def _per_tensor(tensor: Tensor, role: str) -> tuple[float, int]:
    quantization = tensor.quantization
    if quantization is None or quantization.details or quantization.scale.size != 1:
        raise _RefusedError(f"its {role} {tensor.name!r} has no single scale")
    scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    if scale < _LEAST_SCALE:
        raise _RefusedError(
            f"its {role} {tensor.name!r} has scale {scale}; it must be positive and not denormal"
        )
    if not INT8_RANGE[0] <= zero_point <= INT8_RANGE[1]:
        raise _RefusedError(
            f"its {role} {tensor.name!r} has zero point {zero_point}; it must be in [-128, 127]"
        )
    return scale, zero_point


def _weight_scales(w: Tensor, axis: int) -> np.ndarray:
    quantization = w.quantization
    if quantization is None or quantization.details:
        kind = "no" if quantization is None else quantization.details
        raise _RefusedError(f"its weights {w.name!r} have {kind} scales")
    channels = w.shape[axis]
    if quantization.zero_point.any():
        raise _RefusedError(
            f"its weights {w.name!r} have a zero point that is not 0; only symmetric weights are "
            "taken"
        )
    if quantization.scale.size == 1:
        return np.repeat(quantization.scale, channels)
    if quantization.dimension != axis:
        raise _RefusedError(
            f"its weights {w.name!r} have scales along dimension {quantization.dimension}; the "
            f"output channels are dimension {axis}"
        )
    return quantization.scale


def _take_geometry(record: QuantizedOp, graph: Subgraph) -> None:
    x, y = graph.tensors[record.input], graph.tensors[record.output]
    w = graph.tensors[record.weights_tensor].shape
    if 0 in x.shape or 0 in y.shape:
        raise _RefusedError(f"its shapes {list(x.shape)} -> {list(y.shape)} are empty")
    if record.kind == "fully_connected":
        expected = _dense_output(record, x, w)
    elif record.kind == "transpose_conv":
        expected = _transposed_output(record, graph, x, y, w)
    else:
        expected = _window_output(record, x, w)
    # A dimension that may change stands in `shape` as a placeholder.
    if -1 not in (*x.signature, *y.signature) and y.shape != expected:
        raise _RefusedError(
            f"its output has shape {list(y.shape)}; its input of shape {list(x.shape)} and weights "
            f"of shape {list(w)} give {list(expected)}"
        )


def _dense_output(record: QuantizedOp, x: Tensor, w: tuple[int, ...]) -> tuple[int, ...]:
    units, features = w
    if -1 in x.signature:
        return ()
    if x.elements % features or (record.keep_num_dims and x.shape[-1:] != (features,)):
        raise _RefusedError(
            f"its input of shape {list(x.shape)} does not split into rows of {features} features"
        )
    if record.keep_num_dims:
        return (*x.shape[:-1], units)
    return (x.elements // features, units)


def _transposed_output(
    record: QuantizedOp, graph: Subgraph, x: Tensor, y: Tensor, w: tuple[int, ...]
) -> tuple[int, ...]:
    shape = graph.tensors[record.shape_tensor]
    if shape.type != "INT32" or shape.raw is None or shape.storage or shape.shape != (4,):
        raise _RefusedError(f"its output shape {shape.name!r} is no INT32 constant of 4 elements")
    if len(x.shape) != 4 or -1 in (*x.signature, *y.signature):
        raise _RefusedError(
            f"its input has shape {list(x.signature)} and its output {list(y.signature)}; 4 fixed "
            "dimensions are needed"
        )
    batch, height, width, channels = x.shape
    wanted = tuple(int(size) for size in shape.array())
    record.filter_h, record.filter_w = w[1], w[2]
    if w[3] != channels or wanted[0] != batch or wanted[3] != w[0]:
        raise _RefusedError(
            f"its input of shape {list(x.shape)}, weights of shape {list(w)} and output shape "
            f"{list(wanted)} do not agree in batch and channels"
        )
    padding: Padding = "SAME" if record.padding == "SAME" else "VALID"
    record.axes = (
        Axis(height, w[1], record.stride_h, wanted[1], padding),
        Axis(width, w[2], record.stride_w, wanted[2], padding),
    )
    for name, axis in zip(("height", "width"), record.axes, strict=True):
        problem = axis.problem()
        if problem is not None:
            raise _RefusedError(f"along its {name} it has {problem}")
    return wanted


def _window_output(record: QuantizedOp, x: Tensor, w: tuple[int, ...]) -> tuple[int, ...]:
    if len(x.shape) != 4:
        raise _RefusedError(f"its input has shape {list(x.shape)}; 4 dimensions are needed")
    batch, height, width, channels = x.shape
    record.filter_h, record.filter_w = w[1], w[2]
    if record.kind == "depthwise_conv2d":
        if w[0] != 1 or channels * record.depth_multiplier != w[3]:
            raise _RefusedError(
                f"its weights have shape {list(w)}; [1, h, w, {channels} channels * depth "
                f"multiplier {record.depth_multiplier}] is needed"
            )
    else:
        if channels % w[3] or w[0] % (channels // w[3]):
            raise _RefusedError(
                f"its {channels} input channels and weights of shape {list(w)} make no groups"
            )
        record.groups = channels // w[3]

    for window, dilation in ((w[1], record.dilation_h), (w[2], record.dilation_w)):
        if (window - 1) * dilation + 1 > _INT32_MAX:
            raise _RefusedError(f"its window of {window} and dilation of {dilation} leave int32")

    def size(given: int, window: int, stride: int, dilation: int) -> int:
        if record.padding == "SAME":
            return -(-given // stride)
        return -(-(given - (window - 1) * dilation) // stride)

    return (
        batch,
        size(height, w[1], record.stride_h, record.dilation_h),
        size(width, w[2], record.stride_w, record.dilation_w),
        record.channels,
    )


def _take_input_range(record: QuantizedOp, graph: Subgraph) -> None:
    low, high = value_range(graph, record.input)
    if record.pads:  # Padding brings z_x in, past any clamp.
        low, high = min(low, record.z_x), max(high, record.z_x)
    record.in_min, record.in_max = low, high


def _check_arithmetic(record: QuantizedOp) -> None:
    if record.pads and not record.in_min <= record.z_x <= record.in_max:
        raise _RefusedError(
            f"its padding value, the zero point {record.z_x}, is outside its input range "
            f"[{record.in_min}, {record.in_max}]"
        )
    with np.errstate(all="ignore"):
        record.multiplier = multipliers(record.s_x, record.s_w, record.s_y)
    for channel in _where(~((record.multiplier > 0) & (record.multiplier < _MAX_MULTIPLIER))):
        raise _RefusedError(
            f"channel {channel}: its multiplier s_x * s_w / s_y = {record.s_x:g} * "
            f"{record.s_w[channel]:g} / {record.s_y:g} = {record.multiplier[channel]:g} is not in "
            f"(0, {_MAX_MULTIPLIER:g})"
        )
    products = np.float32(record.s_x) * record.s_w
    for channel in _where((record.s_w < _LEAST_SCALE) | (products < _LEAST_SCALE)):
        raise _RefusedError(
            f"channel {channel}: s_w = {record.s_w[channel]:g} or s_x * s_w = "
            f"{products[channel]:g} is denormal"
        )
    q = record.weights()
    for phase in record.phases():
        _check_sums(record, q[:, phase.places])


def _check_sums(record: QuantizedOp, q: np.ndarray) -> None:
    bias = -record.z_x * q.sum(axis=1, dtype=np.int64)
    if record.bias is not None:
        bias += record.bias
    # The most negative int32 is left out, as in the accumulator: one limit for both signs.
    for channel in _where(np.abs(bias) > _INT32_MAX):
        raise _RefusedError(
            f"channel {channel}: its bias less z_x * sum(q) is {bias[channel]}, which leaves int32"
        )
    most = worst_case(q, record.in_min, record.in_max) + np.abs(bias)
    for channel in _where(most > _INT32_MAX):
        raise _RefusedError(
            f"channel {channel}: its sum with bias can reach {most[channel]}, which leaves int32"
        )


def _where(bad: np.ndarray) -> Iterator[int]:
    return iter(np.flatnonzero(bad)[:1].tolist())
