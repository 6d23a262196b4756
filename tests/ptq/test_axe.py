import keras
import keras_models
import numpy as np
import pytest

import keras_accq as accq
from keras_accq.bounds import fits
from keras_accq.graph.nodes import read
from keras_accq.layers import QuantizedWeights
from keras_accq.layers.kernels import to_matrix
from keras_accq.ptq.axe import post_train
from keras_accq.ptq.data import RepeatableData

L = keras.layers


def _inputs(count=64, seed=5):
    """Smooth images with channels that are alike, as real ones are."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 4, 4, 2)).repeat(2, axis=1).repeat(2, axis=2)
    mixed = coarse @ np.array([[1.0, 0.5, -0.5, 0.2], [0.0, 0.5, 1.0, -0.8]])
    return (mixed + 0.2 * rng.normal(size=(count, 8, 8, 4))).astype(np.float32)


def _kinds() -> keras.Model:
    """Plain, grouped, depthwise and strided convolutions and Dense, with and without a bias."""
    x = inputs = keras.Input((8, 8, 4))
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="plain")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise")(x)
    x = L.ReLU()(L.BatchNormalization(name="norm")(x))
    x = L.Conv2D(8, 3, strides=2, groups=4, activation="relu", name="grouped")(x)
    x = L.Conv2D(6, (1, 2), use_bias=False, activation="relu", name="bare")(x)
    return keras_models.randomized(keras.Model(inputs, L.Dense(5, name="dense")(L.Flatten()(x))))


def _quantized(model, acc_bits=14, data=None, **options):
    data = _inputs() if data is None else data
    return accq.quantize(model, acc_bits, method="axe", calibration_data=data, **options)


def _error(model, qmodel, inputs):
    expected = model.predict(inputs, verbose=0)
    found = qmodel.predict(inputs, verbose=0)
    return np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum()


@pytest.mark.slow
@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("algorithm", ["optq", "gpfq"])
def test_all_kinds_of_layers_fit_and_come_nearer_than_rounding(algorithm, tile):
    model, held_back = _kinds(), _inputs(64, seed=6)
    widths = {"input_bits": 6, "weight_bits": 6, "tile": tile}
    acc_bits = 12 if tile is None else 10
    rounded = accq.quantize(model, acc_bits, method="round", calibration_data=_inputs(), **widths)
    qmodel = _quantized(model, acc_bits, algorithm=algorithm, **widths)
    layers = [layer for layer in qmodel.layers if isinstance(layer, QuantizedWeights)]
    assert len(layers) == 5
    for layer in layers:
        q = to_matrix(layer, layer.quantized_kernel()[0]).T
        assert fits(q, -32, 31, acc_bits, layer.operands.partition).all()
    assert _error(model, qmodel, held_back) < 0.8 * _error(model, rounded, held_back)


@pytest.mark.slow
def test_batches_give_what_one_array_gives():
    model, inputs = keras_models.residual(), _inputs(50)
    # With 8 bits, as ranges of fewer are chosen by a random part of each batch's values.
    whole = _quantized(model, data=inputs, input_bits=8)
    parts = _quantized(model, data=[inputs[:7], inputs[7:30], inputs[30:]], input_bits=8)
    for layer in whole.layers:
        if isinstance(layer, QuantizedWeights):
            own, other = (m.get_layer(layer.name).quantized_kernel() for m in (whole, parts))
            # The same sums in another order: a rare weight is rounded the other way.
            assert np.mean(own[0] != other[0]) < 0.02
            np.testing.assert_allclose(own[1], other[1], rtol=0.02)


@pytest.mark.slow
def test_biases_take_up_the_mean_error():
    model, inputs = _kinds(), _inputs()
    corrected = _quantized(model, 10)
    plain = _quantized(model, 10, bias_correction=False)

    def mean_error(qmodel):
        difference = qmodel.predict(inputs, verbose=0) - model.predict(inputs, verbose=0)
        return np.abs(difference.mean(axis=0)).max() / np.abs(difference).max()

    # The last layer's mean error is none but for the output's own grid.
    assert mean_error(corrected) < 0.4 * mean_error(plain)
    for name, variable in (("plain", "bias"), ("norm", "moving_mean")):
        old = keras.ops.convert_to_numpy(getattr(model.get_layer(name), variable))
        own, other = (
            keras.ops.convert_to_numpy(getattr(m.get_layer(name), variable))
            for m in (corrected, plain)
        )
        np.testing.assert_array_equal(other, old)
        assert np.abs(own - old).max() > 0
    # Two layers stand between neither a bias nor a BatchNormalization.
    assert corrected.get_layer("bare").bias is None


@pytest.mark.slow
def test_compensation_makes_up_for_the_layers_before():
    inputs = keras.Input((16,))
    x = L.Dense(24, activation="relu", name="coarse")(inputs)
    model = keras_models.randomized(keras.Model(inputs, L.Dense(4, name="fine")(x)))
    data = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    widths = {"overrides": {"coarse": {"weight_bits": 2}}, "input_bits": 8}
    errors = [
        _error(model, _quantized(model, 20, data[:300], compensate=extent, **widths), data[300:])
        for extent in ("lasting", "none")
    ]
    assert errors[0] < 0.9 * errors[1]


def test_some_layers_can_be_solved_again():
    model, inputs = _kinds(), _inputs()
    qmodel = _quantized(model, data=inputs)
    before = {layer.name: layer.get_weights() for layer in qmodel.layers}
    graph = read(model)
    post_train(graph, qmodel, RepeatableData(graph, inputs[:32]), {"grouped"})
    changed = {
        layer.name
        for layer in qmodel.layers
        if any(
            not np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), before[layer.name], strict=True)
        )
    }
    assert changed == {"grouped"}
    # Solved twice from the same data, nothing moves: biases do not drift.
    once = qmodel.get_layer("grouped").get_weights()
    post_train(graph, qmodel, RepeatableData(graph, inputs[:32]), {"grouped"})
    for a, b in zip(once, qmodel.get_layer("grouped").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_methods_and_excluded_layers_are_left_alone():
    model = _kinds()
    qmodel = _quantized(
        model, exclude=["dense"], overrides={"plain": {"method": "round", "input_bits": 8}}
    )
    assert qmodel.get_layer("dense").operands.acc_bits is None
    assert qmodel.get_layer("plain").method.name == "round"
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(qmodel.get_layer("plain").bias),
        keras.ops.convert_to_numpy(model.get_layer("plain").bias),
    )


def test_the_float_model_is_left_as_it_is():
    model = _kinds()
    before = model.get_weights()
    _quantized(model, 10)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_saved_model_holds_the_same_integers(tmp_path):
    qmodel = _quantized(_kinds(), order="file", soft=False)
    qmodel.save(tmp_path / "model.keras")
    loaded = accq.load_model(tmp_path / "model.keras")
    for layer in qmodel.layers:
        if isinstance(layer, QuantizedWeights):
            other = loaded.get_layer(layer.name)
            assert other.method == layer.method
            for a, b in zip(layer.quantized_kernel(), other.quantized_kernel(), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, ValueError, "calibration_data: .* received None"),
        (iter([np.zeros((1, 8, 8, 4))]), TypeError, "can be read once"),
        (np.full((4, 8, 8, 4), np.nan), ValueError, "NaN or infinite"),
        (np.zeros((4, 8, 8, 4)), ValueError, "is 0.0 everywhere"),
        (np.zeros((0, 8, 8, 4)), ValueError, "at least 1"),
        (np.zeros((4, 8, 4, 4)), ValueError, "expects shape"),
    ],
)
def test_useless_data_are_refused(data, error, message):
    model = keras_models.residual()
    with pytest.raises(error, match=message):
        accq.quantize(model, method="axe", calibration_data=data)


def test_a_budget_that_nothing_meets_names_the_layer_and_the_least_accumulator():
    with pytest.raises(accq.BudgetError, match=r"features: .*acc_bits >= 9"):
        _quantized(
            keras_models.residual(), 16, overrides={"features": {"acc_bits": 8}}, input_bits=8
        )


def test_bad_options_are_refused():
    for options, error in (
        ({"algorithm": "gptq"}, ValueError),
        ({"order": "random"}, ValueError),
        ({"soft": 1}, TypeError),
        ({"sweeps": 1.5}, TypeError),
        ({"sweeps": -1}, ValueError),
    ):
        with pytest.raises(error, match=next(iter(options))):
            accq.AXE(**options)
    with pytest.raises(TypeError, match="no option of method 'axe', which takes algorithm"):
        _quantized(_kinds(), regularization=1.0)


def test_a_layer_that_is_called_twice_is_solved_for_both(monkeypatch):
    seen = []
    from keras_accq.ptq import axe

    def gather(self, inputs, floats, original=axe._Layer.gather):
        seen.append((self._layer.name, inputs.mean(), floats.mean()))
        original(self, inputs, floats)

    monkeypatch.setattr(axe._Layer, "gather", gather)
    shared = L.Dense(4, name="shared")
    inputs = keras.Input((4,))
    x = L.ReLU()(shared(inputs))
    outputs = L.Dense(2, name="last")(shared(L.ReLU()(L.Dense(4, name="between")(x))))
    model = keras_models.randomized(keras.Model(inputs, outputs))
    data = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32) + 5
    qmodel = _quantized(model, data=data)
    passes = [(own, other) for name, own, other in seen if name == "shared"]
    assert len(passes) == 2
    assert abs(passes[0][0] - passes[1][0]) > 1
    assert passes[0][0] != passes[0][1]
    assert passes[1][0] == passes[1][1]  # It comes from the layer itself.
    layer = qmodel.get_layer("shared")
    assert fits(layer.quantized_kernel()[0].T, *layer.operands.input_range, 14).all()
