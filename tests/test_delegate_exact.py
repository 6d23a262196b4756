"""The delegate against stock LiteRT: the same bytes for every layer, shape, scale and input."""

import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tflite_models as models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_accq.tflite import options as op_options

pytestmark = pytest.mark.usefixtures("delegate_library")

_CODES = {
    models.add_conv2d: "AccqConv2D",
    models.add_depthwise_conv2d: "AccqDepthwiseConv2D",
    models.add_fully_connected: "AccqFullyConnected",
    models.add_transpose_conv: "AccqTransposeConv",
}
# TFLite's quantization rules out weights of -128, and on ARM its kernels add two products of -128 *
# -128 in int16, which overflow. Ours have them compared with the reference (kernels_test.cc).
_LEAST_WEIGHT = -127 if platform.machine() in ("aarch64", "arm64") else -128
# The fixture builds a library once; nothing in it belongs to one example.
_SETTINGS = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass
class Layer:
    """One layer and an input for it."""

    add: Any
    x: np.ndarray
    input_scale: float
    input_zero: int
    weights: np.ndarray
    arguments: dict[str, Any]  # of the stock operator, and ours alike
    options: dict[str, int]  # of our operator: the same activation and geometry
    ranges: tuple[int, int, int, int] = (-128, 127, -128, 127)

    def stock(self) -> bytes:
        """Clamps as MAXIMUM and MINIMUM around the built-in operator."""
        graph, x = self._start()
        in_min, in_max, out_min, out_max = self.ranges
        if (in_min, in_max) != (-128, 127):
            x = models.add_clamp(graph, x, in_min, in_max, name="in")
        y = self.add(graph, x, self.weights, **self.arguments)
        if (out_min, out_max) != (-128, 127):
            y = models.add_clamp(graph, y, out_min, out_max, name="out")
        return graph.build([0], [y])

    def ours(self) -> bytes:
        graph, x = self._start()
        names = ("in_min", "in_max", "out_min", "out_max")
        blob = op_options.encode(
            _CODES[self.add], {**self.options, **dict(zip(names, self.ranges, strict=True))}
        )
        arguments = {k: v for k, v in self.arguments.items() if k != "activation"}
        y = self.add(graph, x, self.weights, custom_options=blob, **arguments)
        return graph.build([0], [y])

    def _start(self) -> tuple[models.GraphBuilder, int]:
        graph = models.GraphBuilder()
        x = graph.tensor("input", self.x.shape, scale=self.input_scale, zero_point=self.input_zero)
        return graph, x


def run(data: bytes, x: np.ndarray, **options: Any) -> np.ndarray:
    from keras_accq import Interpreter

    interpreter = Interpreter(model_content=data, **options)
    assert interpreter.delegated_nodes == len(interpreter.accq_nodes) == 1
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def check(layer: Layer) -> None:
    (expected,) = models.run(layer.stock(), layer.x)
    data = layer.ours()
    for options in ({}, {"kernel": "reference"}):
        got = run(data, layer.x, **options)
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got, expected, err_msg=str(options))


def _integers(draw: Any, rng: np.random.Generator, shape: Any, low: int = -128) -> np.ndarray:
    """int8 values that also reach every extreme: random, at the limits, constant, sparse."""
    kind = draw(st.sampled_from(["random", "limits", "constant", "small", "sparse"]))
    if kind == "random":
        return rng.integers(low, 128, shape).astype(np.int8)
    if kind == "limits":
        return rng.choice(np.array([low, 127], np.int8), shape)
    if kind == "constant":
        return np.full(shape, draw(st.sampled_from([low, 127])), np.int8)
    if kind == "small":
        return rng.integers(-3, 4, shape).astype(np.int8)
    return (rng.integers(low, 128, shape) * (rng.random(shape) < 0.1)).astype(np.int8)


def _numbers(draw: Any, rng: np.random.Generator, depth: int, channels: int) -> dict[str, Any]:
    """Scales, zero points, bias and activation, with outputs spread over int8 or saturating."""
    exact_ties = draw(st.booleans())  # powers of two: many results lie half way between integers
    per_channel = draw(st.booleans())
    exponents = rng.integers(-8, -2, channels if per_channel else 1)
    weight_scale = np.float32(2.0) ** exponents.astype(np.float32)
    input_scale = np.float32(2.0 ** draw(st.integers(-7, 1)))
    spread = 2.0 ** draw(st.integers(-3, 12)) * max(1.0, depth**0.5)
    output_scale = np.float32(2.0 ** np.round(np.log2(input_scale * weight_scale.max() * spread)))
    if not exact_ties:
        weight_scale = weight_scale * rng.uniform(0.5, 1.0, weight_scale.shape).astype(np.float32)
        input_scale *= np.float32(rng.uniform(0.5, 1.0))
        output_scale *= np.float32(rng.uniform(0.9, 2.0))
    bias = None
    if draw(st.booleans()):
        bias = rng.integers(-(2 ** draw(st.integers(1, 24))), 2**16, channels)
    return {
        "input_scale": float(input_scale),
        "input_zero": draw(st.integers(-128, 127)),
        "arguments": {
            "weight_scale": weight_scale,
            "output_scale": float(output_scale),
            "output_zero": draw(st.integers(-128, 127)),
            "activation": draw(st.sampled_from([models.NONE, models.RELU, models.RELU6, 2])),
            "bias": bias,
        },
    }


def _ranges(draw: Any, padded_with: int | None) -> tuple[int, int, int, int]:
    if draw(st.booleans()):
        return (-128, 127, -128, 127)
    in_min, in_max = sorted(draw(st.tuples(*[st.integers(-128, 127)] * 2)))
    if padded_with is not None:  # SAME padding adds the zero point, so it belongs to the range
        in_min, in_max = min(in_min, padded_with), max(in_max, padded_with)
    out_min, out_max = sorted(draw(st.tuples(*[st.integers(-128, 127)] * 2)))
    return in_min, in_max, out_min, out_max


@st.composite
def conv_layers(draw: Any) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depth = draw(st.integers(1, 20))
    channels = groups * draw(st.integers(1, 20 if groups == 1 else 7))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    weights = _integers(draw, rng, (channels, *kernel, depth), _LEAST_WEIGHT)
    return _window_layer(draw, rng, models.add_conv2d, weights, kernel, groups * depth)


@st.composite
def depthwise_layers(draw: Any) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    depth, multiplier = draw(st.integers(1, 40)), draw(st.sampled_from([1, 1, 2, 3]))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    weights = _integers(draw, rng, (1, *kernel, depth * multiplier), _LEAST_WEIGHT)
    layer = _window_layer(draw, rng, models.add_depthwise_conv2d, weights, kernel, depth)
    layer.options["depth_multiplier"] = multiplier
    if layer.arguments["bias"] is None:
        # Stock LiteRT 2.3 crashes on a depthwise convolution without bias.
        layer.arguments["bias"] = np.zeros(depth * multiplier, np.int32)
    return layer


def _window_layer(
    draw: Any,
    rng: np.random.Generator,
    add: Any,
    weights: np.ndarray,
    kernel: tuple[int, int],
    in_channels: int,
) -> Layer:
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    size = [
        draw(st.integers(1 if padding == "SAME" else (k - 1) * d + 1, (k - 1) * d + 7))
        for k, d in zip(kernel, dilation, strict=True)
    ]
    channels = weights.shape[3 if add is models.add_depthwise_conv2d else 0]
    numbers = _numbers(draw, rng, weights.size // channels, channels)
    numbers["arguments"].update(stride=stride, dilation=dilation, padding=padding)
    return Layer(
        add,
        x=_integers(draw, rng, (draw(st.integers(1, 3)), *size, in_channels)),
        weights=weights,
        options={
            "padding": models.PADDING[padding],
            "stride_h": stride[0],
            "stride_w": stride[1],
            "dilation_h": dilation[0],
            "dilation_w": dilation[1],
            "activation": numbers["arguments"]["activation"],
        },
        ranges=_ranges(draw, numbers["input_zero"] if padding == "SAME" else None),
        **numbers,
    )


@st.composite
def transposed_convolutions(draw: Any) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    kernel, size, out = [], [], []
    for s in stride:
        # With SAME padding and a kernel below the stride, LiteRT rounds otherwise.
        kernel.append(draw(st.integers(s if padding == "SAME" else 1, 6)))
        size.append(draw(st.integers(1, 7)))
        least = (size[-1] - 1) * s + (1 if padding == "SAME" else kernel[-1])
        out.append(draw(st.integers(least, least + s - 1)))
    depth, channels = draw(st.integers(1, 20)), draw(st.integers(1, 36))
    weights = _integers(draw, rng, (channels, *kernel, depth), _LEAST_WEIGHT)
    numbers = _numbers(draw, rng, weights.size // channels, channels)
    numbers["arguments"].update(stride=stride, padding=padding, output_size=tuple(out))
    return Layer(
        models.add_transpose_conv,
        x=_integers(draw, rng, (draw(st.integers(1, 3)), *size, depth)),
        weights=weights,
        options={
            "padding": models.PADDING[padding],
            "stride_h": stride[0],
            "stride_w": stride[1],
            "activation": numbers["arguments"]["activation"],
        },
        ranges=_ranges(draw, numbers["input_zero"]),
        **numbers,
    )


@st.composite
def dense_layers(draw: Any) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    features, units = draw(st.integers(1, 300)), draw(st.integers(1, 40))
    keep = draw(st.booleans())
    leading = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    numbers = _numbers(draw, rng, features, units)
    numbers["arguments"]["keep_num_dims"] = keep
    return Layer(
        models.add_fully_connected,
        x=_integers(draw, rng, (*leading, features)),
        weights=_integers(draw, rng, (units, features), _LEAST_WEIGHT),
        options={
            "keep_num_dims": int(keep),
            "activation": numbers["arguments"]["activation"],
        },
        ranges=_ranges(draw, None),
        **numbers,
    )


@_SETTINGS
@given(layer=conv_layers())
def test_convolutions(layer: Layer) -> None:
    check(layer)


@_SETTINGS
@given(layer=depthwise_layers())
def test_depthwise_convolutions(layer: Layer) -> None:
    check(layer)


@_SETTINGS
@given(layer=transposed_convolutions())
def test_transposed_convolutions(layer: Layer) -> None:
    check(layer)


@_SETTINGS
@given(layer=dense_layers())
def test_fully_connected_layers(layer: Layer) -> None:
    check(layer)


def _row_layer(add: Any, bias: np.ndarray, **scales: Any) -> Layer:
    """A layer of zero weights: every output is the requantized bias of its own channel."""
    channels = bias.size
    shapes: dict[Any, tuple[tuple[int, ...], tuple[int, ...]]] = {
        models.add_conv2d: ((1, 1, 1, 1), (channels, 1, 1, 1)),
        models.add_depthwise_conv2d: ((1, 1, 1, channels), (1, 1, 1, channels)),
        models.add_fully_connected: ((1, 1), (channels, 1)),
        models.add_transpose_conv: ((1, 1, 1, 1), (channels, 1, 1, 1)),
    }
    x, weights = (np.zeros(shape, np.int8) for shape in shapes[add])
    return Layer(
        add,
        x,
        input_scale=scales.pop("input_scale"),
        input_zero=0,
        weights=weights,
        arguments={"bias": bias, **scales},
        options={},
    )


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("add", _CODES, ids=_CODES.values())
def test_rounding_next_to_ties(add: Any, per_channel: bool) -> None:
    """Accumulators next to n + 1/2, where one wrong bit of the multiplier changes the output."""
    rng = np.random.default_rng(14)
    told_apart = 0
    for _ in range(4):
        channels = 4096
        s_x, s_y = np.float32(rng.uniform(0.001, 0.1)), np.float32(rng.uniform(0.01, 1))
        spread = rng.uniform(1, 2, channels if per_channel else 1)
        s_w = (spread * 1e-5 * s_y / s_x).astype(np.float32)
        m = np.broadcast_to((s_x * s_w) / s_y, channels)
        ties = rng.integers(-127, 127, channels) + 0.5
        bias = np.rint(ties / m.astype(np.float64)).astype(np.int64)
        check(
            _row_layer(add, bias, input_scale=float(s_x), weight_scale=s_w, output_scale=float(s_y))
        )
        other = np.broadcast_to((s_x / s_y) * s_w, channels)  # the same but for its roundings
        told_apart += int((np.rint(bias.astype(np.float32) * m)
                           != np.rint(bias.astype(np.float32) * other)).sum())  # fmt: skip
    assert told_apart > 500


def test_large_accumulators_are_rounded_to_float32() -> None:
    """Beyond 2^24 the conversion to float32 rounds, half to even."""
    rng = np.random.default_rng(15)
    limit = 2**31 - 1
    bias = np.concatenate(
        [[limit, -limit], rng.integers(-limit, limit, 3000), 2**24 + np.arange(64)]
    )
    for scale in (2.0**-24, 2.0**-25, 1e-7, 3e-8):
        for add in _CODES:
            check(_row_layer(add, bias, input_scale=1.0, weight_scale=scale, output_scale=1.0))


@pytest.mark.parametrize("add", _CODES, ids=_CODES.values())
def test_rewrite_takes_only_what_the_delegate_runs(add: Any) -> None:
    """Odd scales, biases and windows: rewritten or left alone, the bytes are stock's."""
    from keras_accq import Interpreter, rewrite

    rng = np.random.default_rng(16)
    shapes: dict[Any, tuple[int, ...]] = {
        models.add_conv2d: (4, 3, 3, 4),
        models.add_depthwise_conv2d: (1, 3, 3, 4),
        models.add_fully_connected: (4, 100),
        models.add_transpose_conv: (4, 3, 3, 4),
    }
    weights = rng.integers(-128, 128, shapes[add]).astype(np.int8)
    image = rng.integers(-128, 128, (1, 5, 5, 4)).astype(np.int8)
    odd: list[dict[str, Any]] = [
        {"input_scale": 1.0, "weight_scale": scale, "output_scale": 1.0}
        for scale in (255.999, 256.0, 2.0**-31, 2.0**-33, 1e-12, 1e-30, 1.2e-38, 1e-39)
    ]
    odd += [
        {"input_scale": 1e-38, "weight_scale": 1e-3, "output_scale": 1e-38},
        {"input_scale": 1e-20, "weight_scale": 1e-20, "output_scale": 3e-38},
        {"input_scale": 1e-30, "weight_scale": 1e-30, "output_scale": 3e-38},
        {"input_scale": 1e19, "weight_scale": 1e18, "output_scale": 3e38},
        {"bias": np.full(4, 2**31 - 1), "output_scale": 1e6},
        {"bias": np.full(4, 2**30), "output_scale": 1e5, "input_zero": -128},
    ]
    if add is models.add_transpose_conv:
        odd += [{"stride": stride} for stride in [(3, 3), (4, 3), (3, 400)]]  # the kernel is 3 x 3
        odd += [{"padding": "VALID", "stride": stride} for stride in [(3, 2), (5, 400)]]
        odd += [{"stride": (3, 2), "output_size": size} for size in [(13, 9), (15, 10)]]
        odd += [{"stride": (3, 2), "output_size": size} for size in [(12, 10), (15, 11)]]
    elif add is not models.add_fully_connected:
        odd += [{"stride": (10**6, 2**31 - 1)}, {"dilation": (1000, 1)}, {"dilation": (2**30, 1)}]
        odd += [{"padding": "VALID", "dilation": (2, 2)}]
    taken = 0
    for case in odd:
        arguments = {"bias": np.arange(4), **case}
        layer = Layer(
            add,
            x=image,
            input_scale=arguments.pop("input_scale", 0.05),
            input_zero=arguments.pop("input_zero", 0),
            weights=weights,
            arguments=arguments,
            options={},
        )
        report = rewrite(layer.stock())
        taken += len(report.taken)
        interpreter = Interpreter(model_content=report.model)
        assert interpreter.delegated_nodes == len(report.taken), case
        try:
            (expected,) = models.run(layer.stock(), layer.x)
        except RuntimeError:
            assert not report.taken, case
            continue
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], layer.x)
        interpreter.invoke()
        got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_array_equal(got, expected, err_msg=str(case))
    assert 5 < taken < len(odd)


@pytest.mark.slow
@settings(_SETTINGS, max_examples=1500)
@given(
    layer=st.one_of(conv_layers(), depthwise_layers(), dense_layers(), transposed_convolutions())
)
def test_many_layers(layer: Layer) -> None:
    check(layer)
