import keras
import keras_models
import numpy as np
import pytest

from keras_accq.fill import input_error
from keras_accq.quantize import quantize
from keras_accq.ranges import RULES, candidates, check_rule

_SAMPLES = np.append(np.random.default_rng(0).gamma(1.0, 1.0, 20_000), 100.0)
_WIDEST = 0.0, 100.0


def test_candidates() -> None:
    assert candidates("minmax", _SAMPLES, _WIDEST) == [_WIDEST]
    ((low, high),) = candidates("percentile", _SAMPLES, _WIDEST)
    assert low == 0  # Not the 0.1 % of the values next to it: a grid holds 0.
    assert high == np.percentile(_SAMPLES, 99.9) < 12
    several = candidates("mse", _SAMPLES, (-20.0, 100.0))
    assert several[-1] == (-20.0, 100.0)
    assert all(high == pytest.approx(-5 * low) for low, high in several)
    octaves = candidates("mse", _SAMPLES, _WIDEST, power_of_two=True)
    assert [high for _, high in octaves] == [12.5, 25.0, 50.0, 100.0]


def test_values_that_leave_no_range() -> None:
    sparse = np.append(np.zeros(5000), 3.0)
    assert candidates("percentile", sparse, (0.0, 3.0)) == [(0.0, 3.0)]
    for rule in RULES:
        low, high = candidates(rule, np.zeros(10), (0.0, 0.0))[-1]
        assert low <= 0 < high


def test_each_rule_is_best_at_its_own_aim() -> None:
    noise = {
        rule: input_error(_SAMPLES, 4, among=candidates(rule, _SAMPLES, _WIDEST)).noise
        for rule in RULES
    }
    assert noise["mse"] <= min(noise.values())
    assert noise["mse"] < 0.4 * noise["minmax"]


def test_rules_in_quantize() -> None:
    images = keras_models.images(64)
    model = keras_models.sequential()
    hidden = keras.Model(model.inputs, model.get_layer("relu1").output)(images)
    highest, most = float(np.max(hidden)), float(np.percentile(hidden, 99.9))
    tops = {}
    for rule in RULES:
        for bits in (4, 8):
            qmodel = quantize(
                model,
                weight_bits=6,
                input_bits=bits,
                calibration_data=images,
                input_range=(0, 255),
                activation_range=rule,
            )
            scale, zero_point = qmodel.get_layer("relu1_quantizer").quantization()
            tops[rule, bits] = scale * (2 ** (bits - 1) - 1 - zero_point)
            # Whoever gives an input's range means all of it.
            scale, zero_point = qmodel.get_layer("rescale_quantizer").quantization()
            assert scale * (2 ** (bits - 1) - 1 - zero_point) == pytest.approx(1)
    for bits in (4, 8):
        assert tops["minmax", bits] == pytest.approx(highest)
        assert tops["percentile", bits] == pytest.approx(most, rel=0.05)
    assert tops["mse", 4] < highest
    assert tops["mse", 8] == pytest.approx(highest)


def test_rules_without_calibration_data() -> None:
    model = keras_models.sequential()
    options = {"weight_bits": 6, "input_bits": 4, "input_range": (0, 255)}
    assert quantize(model, **options).get_layer("relu1_quantizer").clip is not None
    observed = quantize(model, **options, activation_range="minmax").get_layer("relu1_quantizer")
    assert observed.clip is None


def test_bad_rules() -> None:
    with pytest.raises(ValueError, match=r"expected one of \('mse', 'percentile', 'minmax'\)"):
        check_rule("max", True)
    with pytest.raises(ValueError, match=r"activation_range: expected one of .* received 3"):
        quantize(keras_models.sequential(), activation_range=3)
    with pytest.raises(ValueError, match="'percentile' needs calibration_data"):
        quantize(keras_models.sequential(), activation_range="percentile")
