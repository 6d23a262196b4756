import keras
import numpy as np
import pytest

from keras_accq.bounds import fits
from keras_accq.errors import BudgetError
from keras_accq.layers import (
    QuantizedConv2D,
    QuantizedConv2DTranspose,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)
from keras_accq.layers.kernels import from_matrix, to_matrix
from keras_accq.quantizers.a2q import A2Q

_CASES = {
    "conv": (
        QuantizedConv2D,
        keras.layers.Conv2D,
        {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"},
        (8, 8, 3),
    ),
    "dilated": (
        QuantizedConv2D,
        keras.layers.Conv2D,
        {"filters": 4, "kernel_size": (2, 3), "dilation_rate": 2, "use_bias": False},
        (8, 8, 3),
    ),
    "grouped": (
        QuantizedConv2D,
        keras.layers.Conv2D,
        {"filters": 6, "kernel_size": 3, "groups": 2, "activation": "relu"},
        (8, 8, 4),
    ),
    "depthwise": (
        QuantizedDepthwiseConv2D,
        keras.layers.DepthwiseConv2D,
        {"kernel_size": 3, "depth_multiplier": 2, "padding": "same", "activation": "relu"},
        (6, 6, 3),
    ),
    "transposed": (
        QuantizedConv2DTranspose,
        keras.layers.Conv2DTranspose,
        {"filters": 6, "kernel_size": (2, 3), "strides": 2, "padding": "same"},
        (5, 4, 3),
    ),
    "transposed, longer": (
        QuantizedConv2DTranspose,
        keras.layers.Conv2DTranspose,
        {"filters": 4, "kernel_size": 3, "strides": 3, "output_padding": 1, "use_bias": False},
        (5, 4, 2),
    ),
    "dense": (QuantizedDense, keras.layers.Dense, {"units": 5}, (40,)),
}


def _started(case: str, **widths):
    quantized_class, plain_class, arguments, shape = _CASES[case]
    rng = np.random.default_rng(0)
    plain = plain_class(**arguments)
    plain.build((None, *shape))
    plain.set_weights([rng.normal(size=w.shape) for w in plain.get_weights()])
    layer = quantized_class(**arguments, **widths, name="layer")
    layer.build((None, *shape))
    kernel = keras.ops.convert_to_numpy(plain.kernel)
    bias = None if plain.bias is None else keras.ops.convert_to_numpy(plain.bias)
    layer.set_float_weights(kernel, bias, np.linspace(0.05, 0.1, layer.channels))
    return layer, plain, rng.normal(size=(2, *shape)).astype(np.float32)


@pytest.mark.parametrize("case", _CASES)
def test_computes_the_plain_layer_with_the_integer_weights(case: str) -> None:
    layer, plain, x = _started(case, acc_bits=16, weight_bits=6, input_bits=4)
    integers, scale = layer.quantized_kernel()
    assert integers.dtype == np.int8
    assert integers.shape == tuple(plain.kernel.shape)
    assert scale.dtype == np.float32
    assert scale.shape == (layer.channels,)
    q = to_matrix(layer, integers).T
    assert fits(q, -8, 7, 16).all()
    assert np.abs(q).max() <= 31
    assert (q != 0).mean() > 0.5
    plain.kernel.assign(from_matrix(layer, q.T * scale))
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", _CASES)
def test_rebuilds_from_its_config(case: str) -> None:
    layer, _, x = _started(
        case, acc_bits=14, weight_bits=5, input_bits=6, tile=7, method=A2Q(0.5), widths_from="given"
    )
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    again.set_weights(layer.get_weights())
    assert again.operands == layer.operands
    assert again.method == A2Q(0.5)
    np.testing.assert_array_equal(again(x), layer(x))


def test_penalty_is_added_to_the_losses() -> None:
    layer, _, x = _started("dense", acc_bits=12, method=A2Q(1.0))
    layer(x)
    assert float(sum(layer.losses)) < 1e-3
    # The penalty is in real units: one channel's norm 2 beyond its limit of s·T.
    norm = layer._parameters["log2_norm"]
    values = norm.numpy()
    limit = 0.05 * layer.operands.radius
    values[0] = np.log2(limit + 2)
    norm.assign(values)
    layer(x)
    assert float(sum(layer.losses)) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_integers(policy: str) -> None:
    layer, _, x = _started("dense", acc_bits=16, weight_bits=8, input_bits=8)
    half, _, _ = _started("dense", acc_bits=16, weight_bits=8, input_bits=8, dtype=policy)
    np.testing.assert_array_equal(half.quantized_kernel()[0], layer.quantized_kernel()[0])
    y = half(x)
    assert y.dtype == policy.removeprefix("mixed_")
    np.testing.assert_allclose(keras.ops.cast(y, "float32"), layer(x), rtol=0.05, atol=0.2)


def test_weights_that_are_not_finite_are_refused() -> None:
    layer, _, _ = _started("conv")
    for value in (np.nan, np.inf):
        weights = layer.get_weights()
        weights[0][0, 0, 0, 0] = value
        layer.set_weights(weights)
        with pytest.raises(ValueError, match=r"layer: expected finite weights.*kernel"):
            layer.quantized_kernel()
    layer, _, _ = _started("conv")
    layer._parameters["log2_scale"].assign(np.full(6, 500.0))
    with pytest.raises(ValueError, match=r"layer: expected finite weights.*scales"):
        layer.quantized_kernel()


def test_budget_below_one_names_the_layer() -> None:
    with pytest.raises(BudgetError, match=r"narrow: 8 accumulator bits.*acc_bits >= 9"):
        QuantizedDense(3, acc_bits=8, input_bits=8, name="narrow")


def test_keras_quantization_is_refused() -> None:
    layer, _, _ = _started("dense")
    with pytest.raises(NotImplementedError, match="already quantized"):
        layer.quantize("int8")


@pytest.mark.parametrize("case", _CASES)
@pytest.mark.parametrize("method", ["round", "axe"])
def test_holds_given_integers(case: str, method: str) -> None:
    layer, plain, x = _started(case, acc_bits=16, weight_bits=6, input_bits=4, method=method)
    rng = np.random.default_rng(1)
    q = rng.integers(-3, 4, plain.kernel.shape).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, layer.channels)
    layer.set_integer_weights(q, scales)
    held, scale = layer.quantized_kernel()
    np.testing.assert_array_equal(held, q)
    np.testing.assert_allclose(scale, scales, rtol=1e-5)
    plain.kernel.assign(from_matrix(layer, to_matrix(layer, q) * scale))
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-5)


def test_integers_that_can_not_be_held_are_refused() -> None:
    layer, _, _ = _started("dense", acc_bits=16, weight_bits=6, method="round")
    before = layer.get_weights()
    q, scales = np.zeros((40, 5), np.int8), np.ones(5)
    q[:, 3] = 7  # 280 > 255
    for wrong, error, match in (
        ((q, scales), BudgetError, r"layer: channel 3 reaches 35840, beyond 32767 at P = 16"),
        ((q.astype(np.int64), scales), TypeError, "int8"),
        ((q[:-1], scales), ValueError, r"shape \(40, 5\)"),
        ((q, scales[:4]), ValueError, "5 scales"),
        ((q * 0, 0 * scales), ValueError, "positive scales"),
        ((q * 0 + np.int8(32), scales), ValueError, r"±31.*received 32"),
    ):
        with pytest.raises(error, match=match):
            layer.set_integer_weights(*wrong)
    for value, kept in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, kept)
    trained, _, _ = _started("dense", method="a2q")
    with pytest.raises(TypeError, match=r"'axe' or 'round', came A2Q"):
        trained.set_integer_weights(q * 0, scales)


def test_a_budget_that_only_the_method_needs_names_the_layer() -> None:
    for method, acc_bits in (("a2q_unsigned", 9), ("type_bound", 21)):
        layer = QuantizedDense(3, acc_bits=acc_bits, input_bits=8, method=method, name="narrow")
        with pytest.raises(BudgetError, match=rf"narrow: {acc_bits} accumulator bits"):
            layer.build((None, 64))
    QuantizedDense(3, acc_bits=22, input_bits=8, method="type_bound").build((None, 64))


def test_only_depthwise_layers_are_told_to_be() -> None:
    told = {case: _started(case)[0].operands.depthwise for case in _CASES}
    assert told == {case: case == "depthwise" for case in _CASES}
