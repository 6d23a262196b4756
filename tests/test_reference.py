"""The NumPy statement of the contract, against stock LiteRT."""

import numpy as np
import pytest
import tflite_models as models
from hypothesis import given, settings
from hypothesis import strategies as st
from transposed_layers import transposed_layers

from keras_accq import reference
from keras_accq.accumulate import accumulate
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load


def run_litert(model, x):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def forward(x, q, layer):
    """The contract on patches [n, h, w, taps, groups, cin] and weights [groups, channels, K]."""
    n, h, w, taps, groups, cin = x.shape
    rows = x.transpose(4, 0, 1, 2, 3, 5).reshape(groups, n * h * w, taps * cin)
    sums, _ = accumulate(rows, q, 32)
    sums = sums.transpose(1, 0, 2).reshape(n, h, w, -1)
    flat = q.reshape(-1, q.shape[-1])
    low, high = reference.activation_limits(
        layer["activation"], layer["output_scale"], layer["output_zero"]
    )
    return reference.requantize(
        sums + reference.effective_bias(flat, layer["bias"], layer["input_zero"]),
        reference.multipliers(layer["input_scale"], layer["weight_scale"], layer["output_scale"]),
        layer["output_zero"],
        low,
        high,
    )


@st.composite
def layers(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    # LiteRT's XNNPACK path takes strides with dilation of 1 only; the reference kernels differ.
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2))) if dilation == (1, 1) else (1, 1)
    return {
        "rng": rng,
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding": draw(st.sampled_from(["SAME", "VALID"])),
        "activation": draw(st.integers(0, 3)),
        "size": (draw(st.integers(5, 8)), draw(st.integers(5, 8))),
        "input_scale": float(np.float32(rng.uniform(0.005, 0.1))),
        "input_zero": int(rng.integers(-128, 128)),
        "output_scale": float(np.float32(rng.uniform(0.02, 0.3))),
        "output_zero": int(rng.integers(-128, 128)),
    }


def complete(layer, channels):
    """The per-channel part of a layer and the arguments that a model builder takes."""
    rng = layer["rng"]
    layer["weight_scale"] = rng.uniform(0.001, 0.02, channels).astype(np.float32)
    layer["bias"] = rng.integers(-5000, 5000, channels)
    names = (
        "input_scale input_zero output_scale output_zero stride dilation padding activation "
        "weight_scale bias"
    )
    return {name: layer[name] for name in names.split()}


def patches(x, layer):
    taken = reference.patches(
        x,
        layer["kernel"],
        layer["stride"],
        layer["dilation"],
        layer["padding"].lower(),
        layer["input_zero"],
    )
    n, h, w, kh, kw, c = taken.shape
    return taken.reshape(n, h, w, kh * kw, c)


@settings(max_examples=40, deadline=None)
@given(layers(), st.sampled_from([(1, 3, 4), (2, 4, 6), (3, 3, 3)]))
def test_convolution(layer, shape):
    groups, cin, cout = shape
    rng, (kh, kw) = layer["rng"], layer["kernel"]
    weights = rng.integers(-127, 128, (cout, kh, kw, cin // groups)).astype(np.int8)
    x = rng.integers(-128, 128, (1, *layer["size"], cin)).astype(np.int8)
    model = models.conv2d(weights, x.shape, **complete(layer, cout))
    taken = patches(x, layer)
    taken = taken.reshape(*taken.shape[:4], groups, cin // groups)
    expected = forward(taken, weights.reshape(groups, cout // groups, -1), layer)
    np.testing.assert_array_equal(run_litert(model, x), expected)


@settings(max_examples=40, deadline=None)
@given(layers(), st.integers(1, 3), st.integers(1, 3))
def test_depthwise_convolution(layer, cin, multiplier):
    rng, (kh, kw) = layer["rng"], layer["kernel"]
    cout = cin * multiplier
    weights = rng.integers(-127, 128, (1, kh, kw, cout)).astype(np.int8)
    x = rng.integers(-128, 128, (1, *layer["size"], cin)).astype(np.int8)
    model = models.depthwise_conv2d(weights, x.shape, **complete(layer, cout))
    q = weights.reshape(kh * kw, cin, multiplier).transpose(1, 2, 0)
    expected = forward(patches(x, layer)[..., None], q, layer)
    np.testing.assert_array_equal(run_litert(model, x), expected)


@settings(max_examples=100, deadline=None)
@given(transposed_layers())
def test_transposed_convolution(layer):
    layer = dict(layer)
    x, weights = layer.pop("x"), layer.pop("weights")
    model = models.transpose_conv(weights, x.shape, **layer)
    (op,) = quantized_ops(load(model))
    taken = reference.transposed_patches(x, op.axes, op.z_x)
    n, h, w = taken.shape[:3]
    sums = taken.reshape(n, h * w, -1).astype(np.int64) @ op.weights().T.astype(np.int64)
    # What the taps of the phase add where they are stored as the zero point.
    ones = reference.transposed_patches(np.ones_like(x[:1]), op.axes, 1)
    sums -= op.z_x * (ones.reshape(h * w, -1).astype(np.int64) @ op.weights().T.astype(np.int64))
    sums += 0 if op.bias is None else op.bias
    limits = reference.activation_limits(op.activation, op.s_y, op.z_y)
    expected = reference.requantize(sums, op.multiplier, op.z_y, *limits).reshape(n, h, w, -1)
    np.testing.assert_array_equal(run_litert(model, x), expected)


@pytest.mark.parametrize(("kernel", "stride"), [((1, 1), (2, 2)), ((3, 1), (2, 3))])
def test_litert_rounds_otherwise_where_the_kernel_is_smaller_than_the_stride(kernel, stride):
    """Why `ops` refuses SAME padding there: if this fails, LiteRT has changed for the better."""
    from ai_edge_litert.interpreter import Interpreter

    rng = np.random.default_rng(5)
    for padding, delegated in (("SAME", False), ("VALID", True)):
        weights = rng.integers(-127, 128, (3, *kernel, 4))
        model = models.transpose_conv(
            weights, (1, 4, 4, 4), stride=stride, padding=padding, bias=np.zeros(3)
        )
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        names = [op["op_name"] for op in interpreter._get_ops_details()]
        assert ("DELEGATE" in names) == delegated
        (op,) = quantized_ops(load(model))
        assert (op.reason is None) == delegated


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 3))
def test_fully_connected(seed, features, activation):
    rng = np.random.default_rng(seed)
    layer = {
        "activation": activation,
        "input_scale": 0.03,
        "input_zero": int(rng.integers(-128, 128)),
        "output_scale": 0.07,
        "output_zero": int(rng.integers(-128, 128)),
        "bias": rng.integers(-5000, 5000, 5),
        "weight_scale": np.float32(rng.uniform(0.001, 0.02)),
    }
    weights = rng.integers(-127, 128, (5, features)).astype(np.int8)
    x = rng.integers(-128, 128, (4, features)).astype(np.int8)
    model = models.fully_connected(weights, x.shape, **layer)
    expected = forward(x[:, None, None, None, None, :], weights[None], layer)
    np.testing.assert_array_equal(run_litert(model, x), expected.reshape(4, 5))


@pytest.mark.parametrize(
    ("activation", "expected"), [(0, (-128, 127)), (1, (-5, 127)), (2, (-15, 5)), (3, (-5, 55))]
)
def test_activation_limits(activation, expected):
    assert reference.activation_limits(activation, 0.1, -5) == expected


def test_activation_limits_stay_in_int8():
    assert reference.activation_limits(3, 0.001, 100) == (100, 127)
    assert reference.activation_limits(2, 0.001, 0) == (-128, 127)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="received 4"):
        reference.activation_limits(4, 0.1, 0)


def test_ties_go_to_even():
    sums = np.array([[1], [3], [5], [-1], [-3]])
    out = reference.requantize(sums, np.array([0.5], np.float32), 0, -128, 127)
    assert out.ravel().tolist() == [0, 2, 2, 0, -2]


def test_the_sum_is_rounded_to_float32_before_it_is_scaled():
    # 2^24 + 1 has no float32: it becomes 2^24, and times 2^-25 the tie goes to 0.
    sums = np.array([[2**24 + 1]])
    assert reference.requantize(sums, np.array([2.0**-25], np.float32), 0, -128, 127).item() == 0


def test_the_multiplier_is_rounded_twice():
    w, differing = np.float32(0.3), 0
    for x in np.linspace(0.01, 0.02, 20, dtype=np.float32):
        for y in np.linspace(0.3, 0.4, 20, dtype=np.float32):
            twice = np.float32(np.float32(x * w) / y)
            differing += twice != np.float32(np.float64(x) * np.float64(w) / np.float64(y))
            assert reference.multipliers(x, [w], y)[0] == twice
    assert differing


def test_large_outputs_saturate():
    sums = np.array([[2**31 - 1, -(2**31)]])
    out = reference.requantize(sums, np.full(2, 255, np.float32), 3, -128, 127)
    assert out.tolist() == [[127, -128]]


def test_effective_bias_is_formed_in_64_bits():
    q = np.full((1, 1 << 18), -128, np.int8)
    assert reference.effective_bias(q, np.array([7]), -128)[0] == 7 - (128 * 128 << 18)
    assert reference.effective_bias(q, None, 2)[0] == 2 * (128 << 18)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_covers_exactly(size, stride):
    before, after = reference.same_padding(size, 3, stride, 2)
    out = -(-size // stride)
    assert before + after == max((out - 1) * stride + 5 - size, 0)
    assert after - before in (0, 1)
