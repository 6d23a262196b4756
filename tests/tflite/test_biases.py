"""Rounded biases are whole accumulator units; end_to_end shows that model and file then agree."""

import numpy as np
import pytest

import keras_accq as accq


def _models():
    import keras

    layers = keras.layers

    def model(*middle):
        return keras.Sequential([keras.Input((6, 6, 3)), *middle])

    norm = {"epsilon": 1e-3}
    return {
        "bias": model(layers.Conv2D(5, 3, activation="relu"), layers.Conv2D(4, 2)),
        "beta": model(
            layers.Conv2D(5, 3, use_bias=False), layers.BatchNormalization(**norm), layers.ReLU()
        ),
        "mean": model(
            layers.DepthwiseConv2D(3, use_bias=False),
            layers.BatchNormalization(center=False, **norm),
        ),
        "mean without gamma": model(
            layers.Conv2D(5, 3), layers.BatchNormalization(center=False, scale=False, **norm)
        ),
        "no bias at all": model(layers.Conv2D(5, 3, use_bias=False)),
    }


@pytest.mark.parametrize("name", ["bias", "beta", "mean", "mean without gamma", "no bias at all"])
def test_biases_become_whole_units_and_move_by_half_of_one(name) -> None:
    import keras

    from keras_accq.graph.nodes import read
    from keras_accq.tflite.convert import traced
    from keras_accq.tflite.export import Exporter

    def units(qmodel):
        graph = read(qmodel)
        exporter = Exporter(graph, raw_inputs=False)
        traced(graph, exporter, 1)
        return np.concatenate(
            [
                op.kernel.bias / (op.kernel.scales.astype(float) * op.input_grid.scale)
                for op in exporter.ops
            ]
        )

    keras.utils.set_random_seed(0)
    model = _models()[name]
    random = np.random.default_rng(0)
    for variable in model.weights:
        spread = random.uniform(0.2, 1.0, variable.shape)
        positive = variable.name == "moving_variance"
        variable.assign(spread if positive else spread * random.choice([-1, 1], variable.shape))
    x = random.normal(size=(32, 6, 6, 3)).astype(np.float32)
    qmodel = accq.quantize(model, 12, calibration_data=x)
    before = units(qmodel)
    accq.round_biases(qmodel)
    after = units(qmodel)
    np.testing.assert_allclose(after, np.rint(before), atol=0.02)
    if name != "no bias at all":
        assert np.abs(before - np.rint(before)).max() > 0.1


def test_a_float_model_is_refused() -> None:
    with pytest.raises(accq.UnsupportedModelError, match="holds no quantized layer"):
        accq.round_biases(_models()["bias"])
