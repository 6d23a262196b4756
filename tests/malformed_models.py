"""Models with a broken keras-accq operator, and what the delegate says of them.

As a script: `malformed_models.py N` applies random combinations of changes to N models; any
ending but a normal one is a crash.
"""

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema

from keras_accq.tflite import options as op_options

_INPUT, _WEIGHTS, _BIAS, _OUTPUT = range(4)
_SHAPE = 1  # of a transposed convolution, whose other tensors but the input come one later
_INT32_MAX = 2**31 - 1


def _good(code: str, **values: int) -> bytes:
    rng = np.random.default_rng(0)
    common: dict[str, Any] = {
        "output_scale": 0.5,
        "custom_options": op_options.encode(code, values),
    }
    if code == "AccqConv2D":
        return models.conv2d(
            rng.integers(-9, 9, (6, 3, 3, 4)),
            (1, 5, 5, 4),
            bias=np.arange(6),
            weight_scale=np.full(6, 0.02),
            **common,
        )
    if code == "AccqDepthwiseConv2D":
        return models.depthwise_conv2d(
            rng.integers(-9, 9, (1, 3, 3, 4)),
            (1, 5, 5, 4),
            bias=np.arange(4),
            weight_scale=np.full(4, 0.02),
            **common,
        )
    if code == "AccqTransposeConv":
        return models.transpose_conv(
            rng.integers(-9, 9, (6, 3, 3, 4)),
            (1, 5, 5, 4),
            bias=np.arange(6),
            weight_scale=np.full(6, 0.02),
            **common,
        )
    return models.fully_connected(
        rng.integers(-9, 9, (5, 8)), (2, 8), bias=np.arange(5), weight_scale=0.02, **common
    )


def _tensor(model: Any, index: int) -> Any:
    return model.subgraphs[0].tensors[index]


def _operator(model: Any) -> Any:
    return model.subgraphs[0].operators[0]


def _set_options(model: Any, blob: bytes) -> None:
    _operator(model).customOptions = np.frombuffer(blob, np.uint8)


def _set_shape(model: Any, index: int, shape: list[int]) -> None:
    _tensor(model, index).shape = np.asarray(shape, np.int32)


def _set_data(model: Any, index: int, size: int) -> None:
    tensor = _tensor(model, index)
    model.buffers[tensor.buffer].data = np.zeros(size, np.uint8)


def _set_output_shape(model: Any, values: list[int]) -> None:
    buffer = _tensor(model, _SHAPE).buffer
    model.buffers[buffer].data = np.frombuffer(np.int32(values).tobytes(), np.uint8)


def _options(code: str, **values: int) -> bytes:
    from flatbuffers import flexbuffers

    return bytes(flexbuffers.Dumps({"version": 1, **values}))


# Name, operator, change, part of the text. Of tensors: 0 input, 1 weights, 2 bias, 3 output.
_CASES: list[tuple[str, str, Any, str]] = [
    ("no options", "AccqConv2D", lambda m: _set_options(m, b""), "it has no options"),
    ("a text", "AccqConv2D", lambda m: _set_options(m, b"hello"), "not a FlexBuffer map"),
    *(
        (f"{key}={value}", "AccqConv2D", lambda m, k=key, v=value: _set_options(
            m, _options("AccqConv2D", **{k: v})
        ), text)
        for key, value, text in [
            ("version", 2, "install the keras-accq release that wrote"),
            ("unheard_of", 1, 'unknown key "unheard_of"'),
            ("stride_h", 0, '"stride_h" is 0'),
            ("stride_w", -(2**63), '"stride_w" is -9223372036854775808'),
            ("stride_w", 2**40, '"stride_w" is 1099511627776'),
            ("dilation_w", _INT32_MAX, "dilated filter width"),
            ("in_min", 1, "operand range"),
            ("padding", 2, '"padding" is 2'),
            ("activation", 4, '"activation" is 4'),
        ]
    ),
    *(
        (f"type {kind} of tensor {t}", "AccqConv2D", lambda m, t=t, k=kind: setattr(
            _tensor(m, t), "type", k
        ), text)
        for t, kind, text in [
            (_INPUT, schema.TensorType.UINT8, "types 3 and 9, not int8"),
            (_OUTPUT, schema.TensorType.INT16, "types 9 and 7, not int8"),
            (_WEIGHTS, schema.TensorType.UINT8, "weights tensor has the type 3"),
        ]
    ),
    *(
        (f"{code}: shape {shape} of tensor {t}", code, lambda m, t=t, s=shape: _set_shape(m, t, s),
         text)
        for code, t, shape, text in [
            ("AccqConv2D", _INPUT, [1, 5, 20], "[1, 5, 20], not [batch"),
            ("AccqConv2D", _INPUT, [], "[], not [batch"),
            ("AccqConv2D", _INPUT, [1, 5, 5, 5], "do not suit 5 input channels"),
            ("AccqConv2D", _INPUT, [1, 0, 5, 4], "must be positive"),
            ("AccqConv2D", _INPUT, [0, 5, 5, 4], "must be positive"),
            ("AccqConv2D", _WEIGHTS, [6, 36], "not 4 dimensions"),
            ("AccqFullyConnected", _BIAS, [5, 1], "not 1 dimensions"),
            ("AccqDepthwiseConv2D", _INPUT, [1, 5, 5, 8], "do not suit 8 input channels"),
            ("AccqDepthwiseConv2D", _INPUT, [1, 5, 5, 2], "do not suit 2 input channels"),
            ("AccqFullyConnected", _INPUT, [3, 3], "does not hold rows of 8"),
            ("AccqFullyConnected", _INPUT, [0, 8], "must be positive"),
            ("AccqFullyConnected", _WEIGHTS, [5, 2, 4], "not 2 dimensions"),
        ]
    ),
    *(
        (f"no quantization of tensor {t}", "AccqConv2D",
         lambda m, t=t: setattr(_tensor(m, t), "quantization", None), f"the {name} ")
        for t, name in [(_INPUT, "input"), (_WEIGHTS, "weights tensor"), (_OUTPUT, "output")]
    ),
    *(
        (f"{field}={value} of tensor {t}", "AccqConv2D",
         lambda m, t=t, f=field, v=value: setattr(_tensor(m, t).quantization, f, v), text)
        for t, field, value, text in [
            (_INPUT, "scale", np.float32([0]), "input is not quantized with one scale"),
            (_INPUT, "scale", np.float32([-1]), "scale -1"),
            (_INPUT, "scale", np.float32([np.inf]), "scale inf"),
            (_OUTPUT, "scale", np.float32([1e-42]), "not a positive normal number"),
            (_OUTPUT, "scale", np.float32([1e-7]), "expected a multiplier in (0, 256)"),
            (_INPUT, "zeroPoint", np.int64([200]), "zero point 200"),
            (_WEIGHTS, "zeroPoint", np.int64([0, 0, 1, 0, 0, 0]), "zero point 1 in channel 2"),
        ]
    ),
    ("dynamic weights", "AccqConv2D", lambda m: setattr(_tensor(m, _WEIGHTS), "buffer", 0),
     "weights tensor is not a constant"),
    ("dynamic bias", "AccqConv2D", lambda m: setattr(_tensor(m, _BIAS), "buffer", 0),
     "bias is not a constant"),
    ("no input", "AccqConv2D", lambda m: setattr(_operator(m), "inputs", np.int32([-1, 1, 2])),
     "does not exist"),
    ("no weights", "AccqConv2D", lambda m: setattr(_operator(m), "inputs", np.int32([0, -1, 2])),
     "does not exist"),
    ("one input", "AccqConv2D", lambda m: setattr(_operator(m), "inputs", np.int32([0])),
     "it has 1 inputs"),
    ("four inputs", "AccqConv2D", lambda m: setattr(_operator(m), "inputs", np.int32([0, 1, 2, 2])),
     "it has 4 inputs"),
    ("bias as weights", "AccqConv2D", lambda m: setattr(_operator(m), "inputs", np.int32([0, 2])),
     "weights tensor has the type 2"),
    *(
        (f"output shape {shape}", "AccqTransposeConv",
         lambda m, s=shape: _set_output_shape(m, s), text)
        for shape, text in [
            ([1, 5, 5, 5], "output shape has 5 channels, and the weights 6"),
            ([2, 5, 5, 6], "whose batch is not the 2"),
            ([1, 6, 5, 6], "height: an output size of 6 does not suit 5 inputs"),
            ([1, 5, _INT32_MAX, 6], "width: an output size of 2147483647"),
            ([1, -5, 5, 6], "out_h: expected 1 to 2147483647, came -5"),
        ]
    ),
    ("a computed output shape", "AccqTransposeConv",
     lambda m: setattr(_tensor(m, _SHAPE), "buffer", 0), "output shape is not a constant"),
    ("strides over the kernel", "AccqTransposeConv",
     lambda m: _set_options(m, _options("AccqTransposeConv", stride_h=4)),
     "smaller than its stride"),
    ("weights as output", "AccqConv2D", lambda m: setattr(_operator(m), "outputs", np.int32([1])),
     "the output is a constant"),
]  # fmt: skip


def cases() -> Iterator[tuple[str, bytes, str]]:
    """Name, model, and part of the text that the delegate refuses it with."""
    for name, code, change, text in _CASES:
        model = models.unpack(_good(code))
        change(model)
        yield name, models.pack(model), text


def mutated_options(rng: np.random.Generator, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Options of a convolution with one byte changed or an end cut off, in a model."""
    data = _good("AccqConv2D", in_min=-100, acc_bits=14, dilation_h=2)
    model = models.unpack(data)
    good = bytes(_operator(model).customOptions)
    for i in range(count):
        blob = bytearray(good)
        if i < len(good):
            blob = blob[:i] or blob[:1]
        else:
            blob[i % len(good)] = rng.integers(256)
        _set_options(model, bytes(blob))
        yield bytes(blob), models.pack(model)


@cache
def _delegate() -> Any:
    from keras_accq import load_delegate

    return load_delegate()


def outcome(data: bytes) -> str | None:
    """What the runtime with our delegate says of a model; None when it runs."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=data, experimental_delegates=[_delegate()])
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        return str(error)
    return None


def _shake(rng: np.random.Generator, model: Any) -> None:
    """One random change of a shape, scale, buffer, tensor index or option."""
    numbers = [-(2**31), -1, 0, 1, 2, 3, 4, 5, 7, 8, 255, 256, 46341, 65536, _INT32_MAX]
    tensors = len(model.subgraphs[0].tensors)
    t = int(rng.integers(tensors))
    ends = (0, tensors - 1)  # input and output
    tensor = _tensor(model, t)
    kind = rng.integers(7)
    if kind == 0 and len(tensor.shape):
        # Within bounds for the input and output: the runtime itself would allocate them.
        tensor.shape[rng.integers(len(tensor.shape))] = (
            rng.integers(0, 9) if t in ends else rng.choice(numbers)
        )
    elif kind == 1:
        size = int(rng.integers(0, 6))
        low, high = (0, 9) if t in ends else (-3, 300)
        tensor.shape = rng.integers(low, high, size).astype(np.int32)
    elif kind == 2 and tensor.quantization is not None:
        scales = [0.0, -1.0, 1e-45, 1e-38, 1e-10, 0.02, 1.0, 1e10, 3e38, np.inf, np.nan]
        tensor.quantization.scale = np.float32(rng.choice(scales, rng.integers(1, 8)))
        tensor.quantization.zeroPoint = rng.integers(-200, 200, rng.integers(1, 8))
        tensor.quantization.quantizedDimension = int(rng.integers(-1, 5))
    elif kind == 3 and tensors == 5 and rng.random() < 0.5:
        _set_output_shape(model, [1, *rng.choice(numbers[2:11], 2), 6])
    elif kind == 3 and tensor.buffer:
        _set_data(model, t, int(rng.integers(0, 300)))
    elif kind == 4:
        _operator(model).inputs = rng.integers(-1, tensors, rng.integers(1, 6)).astype(np.int32)
    elif kind == 5:
        keys = ["stride_h", "stride_w", "padding", "in_min", "out_max"]
        keys += [] if tensors == 5 else ["dilation_h", "dilation_w"]
        values = {k: int(rng.choice(numbers)) for k in rng.choice(keys, 3)}
        _set_options(model, _options("AccqConv2D", **values))
    else:
        tensor.type = int(rng.choice([0, 2, 3, 7, 9, 9, 9]))


def main(count: int) -> None:
    rng = np.random.default_rng(11)
    codes = ["AccqConv2D", "AccqDepthwiseConv2D", "AccqFullyConnected", "AccqTransposeConv"]
    refused = 0
    for _ in range(count):
        model = models.unpack(_good(codes[rng.integers(4)]))
        for _ in range(rng.integers(1, 4)):
            _shake(rng, model)
        message = outcome(models.pack(model))
        if message is not None and not message:
            sys.exit("an error without a text")
        refused += message is not None
    print(f"{refused} refused")
    print(f"{count} models")


if __name__ == "__main__":
    main(int(sys.argv[1]))
