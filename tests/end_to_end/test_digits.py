"""Real data all the way: scikit-learn's digits, trained, quantized, converted, run."""

import numpy as np
import pytest

import keras_accq as accq

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """A float network trained on 1,437 digits, the images and labels, and 360 held back."""
    import keras
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(16, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="wide"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    _train(model, split[0], split[2], 10, 3e-3)
    return model, *split


def _train(model, x, y, epochs: int, rate: float) -> None:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


@pytest.mark.parametrize(("acc_bits", "tile"), [(16, None), (16, 64), (12, None)])
def test_from_training_to_kernels(digits, tmp_path, delegate_library, acc_bits, tile) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    model, x, x_test, y, y_test = digits
    float_accuracy = np.mean(model.predict(x_test, verbose=0).argmax(axis=1) == y_test)
    assert float_accuracy > 0.95
    qmodel = accq.quantize(model, acc_bits, tile=tile, calibration_data=x, input_range=(0, 16))
    _train(qmodel, x, y, 4, 5e-4)
    logits = qmodel.predict(x_test, verbose=0)
    accuracy = np.mean(logits.argmax(axis=1) == y_test)
    assert accuracy > float_accuracy - (0.02 if acc_bits == 16 else 0.05)

    certificate = accq.convert(qmodel, tmp_path / "custom.tflite")
    kind = "monolithic" if tile is None else f"tile={tile}"
    assert certificate.verdict == f"P = {acc_bits}{',' if tile else ''} {kind}: all 3 ops"
    accq.convert(qmodel, tmp_path / "builtin.tflite", ops="builtin")
    integers = _integers(tmp_path / "builtin.tflite", x_test)
    (stock,) = outputs(Interpreter, tmp_path / "builtin.tflite", [integers])
    (ours,) = outputs(accq.Interpreter, tmp_path / "custom.tflite", [integers])
    np.testing.assert_array_equal(ours, stock)
    exported = accq.export_integers(tmp_path / "custom.tflite", tmp_path / "integers.npz")
    np.testing.assert_array_equal(exported.run(integers), stock)
    wrapped = exported.run(integers[:8], accumulators="wrap")
    np.testing.assert_array_equal(wrapped, stock[:8])
    assert np.mean(stock.argmax(axis=1) == logits.argmax(axis=1)) >= 0.99
    if acc_bits == 16:  # With 12 bits, a unit of the rounded biases is much of an output step.
        assert np.abs(_real(qmodel, stock) - logits).max() <= 2.01 * _step(qmodel)

    # The rounding of biases is all that sets the two apart.
    accq.round_biases(qmodel)
    accq.convert(qmodel, tmp_path / "builtin.tflite", ops="builtin")
    (stock,) = outputs(Interpreter, tmp_path / "builtin.tflite", [integers])
    difference = np.abs(_real(qmodel, stock) - qmodel.predict(x_test, verbose=0))
    assert np.mean(difference > 0.5 * _step(qmodel)) <= 0.001


def _integers(path, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    entry = Interpreter(model_path=str(path)).get_input_details()[0]
    scale, zero_point = entry["quantization"]
    return np.clip(np.rint(images / 16 / scale) + zero_point, -128, 127).astype(np.int8)


def _step(qmodel) -> float:
    return float(qmodel.layers[-1].quantization()[0])


def _real(qmodel, stored: np.ndarray) -> np.ndarray:
    scale, zero_point = qmodel.layers[-1].quantization()
    return (stored.astype(np.float32) - zero_point) * scale
