import keras
import keras_models
import numpy as np
import pytest

import keras_accq as accq

L = keras.layers


def _model(k: int) -> keras.Model:
    inputs = keras.Input((k,))
    x = L.Dense(24, activation="relu", name="first")(inputs)
    return keras_models.randomized(keras.Model(inputs, L.Dense(8, name="second")(x)))


def _inputs(k, count=200):
    return np.random.default_rng(0).normal(size=(count, k)).astype(np.float32)


def _widths(model, acc_bits, **options):
    qmodel = accq.quantize(
        model, acc_bits, method="axe", calibration_data=_inputs(model.input_shape[1]), **options
    )
    return [qmodel.get_layer(name).operands.input_bits for name in ("first", "second")]


@pytest.mark.slow
def test_narrower_accumulators_get_narrower_inputs():
    model = _model(80)
    found = [_widths(model, acc_bits)[0] for acc_bits in (20, 13, 9)]
    assert found[0] == 8
    assert found == sorted(found, reverse=True)
    assert found[-1] <= 4
    # With tiles there is more room.
    assert _widths(model, 13, tile=8)[0] > found[1]


@pytest.mark.slow
def test_the_width_chosen_is_about_the_best():
    model, inputs = _model(64), _inputs(64, 2000)[1000:]
    expected = model.predict(inputs, verbose=0)

    def error(**options):
        qmodel = accq.quantize(model, 12, method="axe", calibration_data=_inputs(64), **options)
        return np.square(qmodel.predict(inputs, verbose=0) - expected).mean()

    chosen = error()
    assert chosen < 1.25 * min(error(input_bits=bits) for bits in (4, 5, 6, 7))


@pytest.mark.slow
def test_widths_that_are_given_stay():
    model = _model(64)
    assert _widths(model, 12, input_bits=7) == [7, 7]
    assert _widths(model, 12, overrides={"second": {"input_bits": 3}})[1] == 3


def test_an_accumulator_of_few_bits_skips_inputs_that_it_can_not_hold():
    assert max(_widths(_model(16), 6)) <= 5


@pytest.mark.parametrize("algorithm", ["optq", "gpfq"])
def test_depthwise_and_grouped_layers_are_sampled(algorithm):
    x = inputs = keras.Input((6, 6, 40))
    x = L.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    model = keras_models.randomized(keras.Model(inputs, L.Conv2D(40, 3, groups=20)(x)))
    data = np.random.default_rng(0).normal(size=(40, 6, 6, 40)).astype(np.float32)
    qmodel = accq.quantize(model, 12, method="axe", algorithm=algorithm, calibration_data=data)
    assert all(layer.widths_from == "measured" for layer in accq.summary(qmodel).layers)
