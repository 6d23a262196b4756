import itertools

import keras
import keras_models
import numpy as np
import pytest

from keras_accq.bounds import fits
from keras_accq.layers import QuantizedWeights
from keras_accq.quantize import quantize

L = keras.layers
_X = np.random.default_rng(0).gamma(1.0, 1.0, (256, 20)).astype(np.float32)

# Ranges that leave something to find.
_START = {"activation_range": "minmax"}


def _model() -> keras.Model:
    x = inputs = keras.Input((20,), name="x")
    x = L.BatchNormalization(name="norm")(L.Dense(12, use_bias=False, name="a")(x))
    x = L.Dense(10, activation="relu", name="b")(L.ReLU(name="relu")(x))
    return keras_models.randomized(keras.Model(inputs, L.Dense(4, name="c")(x), name="small"))


def _closeness(model: keras.Model):
    expected = np.asarray(_model()(_X))
    return lambda qmodel: -float(np.square(np.asarray(qmodel(_X)) - expected).mean())


def _auto(model: keras.Model, acc_bits: int = 8, **options) -> keras.Model:
    options = {"time_limit": 1e6, "evaluate": _closeness(model), **_START, **options}
    return quantize(model, acc_bits, method="auto", calibration_data=_X, **options)


def _compute(model: keras.Model) -> list[QuantizedWeights]:
    return [layer for layer in model.layers if isinstance(layer, QuantizedWeights)]


def _assert_fits(model: keras.Model) -> None:
    for layer in _compute(model):
        operands = layer.operands
        q = layer.quantized_kernel()[0].reshape(-1, layer.channels).T
        if operands.acc_bits is not None:
            fit = fits(q, *operands.input_range, operands.acc_bits, operands.partition)
            assert fit.all(), layer.name


@pytest.mark.slow
def test_better_than_plain_axe_and_certified() -> None:
    model = _model()
    evaluate = _closeness(model)
    plain = quantize(model, 8, method="axe", calibration_data=_X, **_START)
    tried: list[float] = []

    def judge(qmodel: keras.Model) -> float:
        _assert_fits(qmodel)
        tried.append(evaluate(qmodel))
        return tried[-1]

    found = _auto(model, evaluate=judge)
    assert tried[0] == pytest.approx(evaluate(plain), rel=1e-6)
    assert evaluate(found) == max(tried)
    assert max(tried) > 0.97 * tried[0]  # Squared errors with a minus.
    assert len(tried) > 3
    assert found.get_layer("a").method.name == "axe"


@pytest.mark.slow
def test_same_search_each_time() -> None:
    weights = [_auto(_model()).get_weights() for _ in range(2)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_metric_that_search_only_lowers_leaves_plain_axe() -> None:
    model = _model()
    falling = itertools.count(0, -1)
    found = _auto(model, evaluate=lambda qmodel: next(falling))
    plain = quantize(model, 8, method="axe", calibration_data=_X, **_START)
    for a, b in zip(plain.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_plain_axe_however_short_the_time() -> None:
    judged = []
    _auto(_model(), time_limit=1e-9, evaluate=lambda qmodel: judged.append(1) or 0.5)
    assert len(judged) == 1


@pytest.mark.slow
def test_given_widths_ranges_and_exclusions_stay() -> None:
    found = _auto(
        _model(),
        input_range=(0, 12),
        weight_bits=4,
        exclude="c",
        overrides={"b": {"input_bits": 5}},
    )
    a, b, c = _compute(found)
    assert [layer.operands.weight_bits for layer in (a, b, c)] == [4, 4, 8]
    assert b.operands.input_bits == 5
    assert c.operands.acc_bits is None
    scale, zero_point = found.get_layer("x_quantizer").quantization()
    largest = a.operands.input_range[1]
    assert scale * (largest - zero_point) == pytest.approx(12, rel=1e-5)


@pytest.mark.slow
def test_options_of_axe_and_tiles() -> None:
    found = _auto(_model(), 8, tile=5, algorithm="gpfq", equalize=True, time_limit=1e-9)
    assert found.get_layer("a").method.algorithm == "gpfq"
    assert all(layer.operands.tile == 5 for layer in _compute(found))
    with pytest.raises(TypeError, match="tries"):
        _auto(_model(), tries=3)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"evaluate": None}, TypeError, "needs a function from a model to a number"),
        ({"evaluate": 0.5}, TypeError, "received 0.5"),
        ({"time_limit": 0}, ValueError, "positive seconds, received 0"),
        ({"time_limit": -1.0}, ValueError, "positive seconds"),
        ({"time_limit": float("nan")}, ValueError, "positive seconds"),
        ({"time_limit": float("inf")}, ValueError, "positive seconds"),
        ({"time_limit": "60"}, TypeError, "expected seconds, received '60'"),
        ({"time_limit": True}, TypeError, "expected seconds"),
        ({"evaluate": lambda m: float("nan")}, ValueError, "finite number, received nan"),
        ({"evaluate": lambda m: "good"}, TypeError, "expected a number, received 'good'"),
        ({"evaluate": lambda m: None}, TypeError, "expected a number, received None"),
        ({"overrides": {"*": {"method": "a2q"}}}, ValueError, "no layer is left"),
        ({"scheme": "fixed_point"}, ValueError, "free scales"),
    ],
)
def test_bad_arguments(options, error, text) -> None:
    with pytest.raises(error, match=text):
        _auto(_model(), **options)


def test_bad_calibration_data() -> None:
    for data, error in (
        (None, ValueError),
        ([], ValueError),
        (np.zeros_like(_X), ValueError),
        (np.full_like(_X, np.nan), ValueError),
        (_X[:, :3], ValueError),
        (iter([_X]), TypeError),
    ):
        with pytest.raises(error, match="calibration_data"):
            quantize(_model(), 8, method="auto", calibration_data=data, evaluate=lambda m: 0.0)
