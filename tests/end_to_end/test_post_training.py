"""Digits without training after quantization: the steps around it, method auto, and the file."""

import numpy as np
import pytest

import keras_accq as accq

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """A float network, images to calibrate and to choose by, and 360 held back with labels."""
    import keras
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order], labels[order]
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(12, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(24, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(images[:1200], labels[:1200], batch_size=32, epochs=10, verbose=0)
    return (
        model,
        images[:300],
        (images[1200:1437], labels[1200:1437]),
        (images[1437:], labels[1437:]),
    )


def _accuracy(model, images, labels) -> float:
    return float(np.mean(model.predict(images, verbose=0).argmax(axis=1) == labels))


def test_steps_around_rounding(digits) -> None:
    model, calibration, _, test = digits
    options = {"method": "round", "calibration_data": calibration, "input_range": (0, 16)}
    exact = _accuracy(model, *test)
    assert exact > 0.95
    equalized = accq.equalize(model, calibration)
    assert _accuracy(equalized, *test) == exact
    qmodel = accq.quantize(equalized, 11, **options)
    before = _accuracy(qmodel, *test)
    accq.reestimate_batchnorm(qmodel, calibration, equalized)
    accq.correct_biases(qmodel, equalized, calibration)
    assert _accuracy(qmodel, *test) > max(before - 0.01, exact - 0.04)


def test_auto_to_a_certified_file(digits, tmp_path) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    model, calibration, validation, test = digits
    qmodel = accq.quantize(
        model,
        10,
        method="auto",
        calibration_data=calibration,
        input_range=(0, 16),
        evaluate=lambda candidate: _accuracy(candidate, *validation),
        time_limit=20,
    )
    exact = _accuracy(model, *test)
    assert _accuracy(qmodel, *test) > exact - 0.04
    accq.round_biases(qmodel)
    certificate = accq.convert(qmodel, tmp_path / "auto.tflite", ops="builtin")
    assert certificate.verdict == "P = 10 monolithic: all 4 ops"
    scale, zero_point = qmodel.layers[-1].quantization()
    entry = Interpreter(model_path=str(tmp_path / "auto.tflite")).get_input_details()[0]
    grid, offset = entry["quantization"]
    integers = np.clip(np.rint(test[0] / 16 / grid) + offset, -128, 127).astype(np.int8)
    (stored,) = outputs(Interpreter, tmp_path / "auto.tflite", [integers])
    found = scale * (stored.astype(np.float32) - zero_point)
    difference = np.abs(found - qmodel.predict(test[0], verbose=0))
    assert np.mean(difference > 0.5 * scale) <= 0.001


def test_plain_int8_is_lossless_in_16_bits(digits, tmp_path) -> None:
    model, calibration, _, test = digits
    options = {"calibration_data": calibration, "input_range": (0, 16)}
    qmodel = accq.quantize(model, 32, method="round", weight_bits=8, input_bits=8, **options)
    assert abs(_accuracy(qmodel, *test) - _accuracy(model, *test)) <= 0.01
    accq.convert(qmodel, tmp_path / "int8.tflite", ops="builtin")
    report = accq.rewrite(tmp_path / "int8.tflite", tmp_path / "any16.tflite")
    assert len(report.taken) == 4
    assert accq.verify(tmp_path / "any16.tflite").ops[0].worst_case[0] > 0
