"""Networks that grow images: transposed convolutions trained on scikit-learn's digits, and run."""

import numpy as np
import pytest

import keras_accq as accq

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained():
    """A float network that marks the strokes of noisy digits, 1,437 of them, and 360 held back."""
    import keras
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images = load_digits().images[..., None].astype(np.float32)
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 3, images.shape), 0, 16)
    split = train_test_split(
        noisy.astype(np.float32), (images[..., 0] > 7).astype(int), test_size=0.2, random_state=0
    )
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 1))
    x = fine = layers.Conv2D(12, 3, padding="same", activation="relu")(layers.Rescaling(1 / 16)(x))
    x = layers.Conv2D(24, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(24, 3, strides=2, padding="same", use_bias=False, name="up1")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(12, 2, strides=2, activation="relu", name="up2")(x)
    x = layers.Concatenate()([x, fine])
    x = layers.Conv2DTranspose(2, 3, padding="same", name="classes")(x)
    model = keras.Model(inputs, x)
    _train(model, split[0], split[2], 12, 3e-3)
    return model, *split


def _train(model, x, y, epochs: int, rate: float) -> None:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


def _accuracy(logits, y) -> float:
    return float(np.mean(logits.argmax(axis=-1) == y))


@pytest.mark.parametrize(("acc_bits", "method"), [(16, "a2q"), (14, "a2q"), (16, "axe")])
def test_from_training_to_kernels(trained, tmp_path, delegate_library, acc_bits, method) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    model, x, x_test, y, y_test = trained
    wanted = _accuracy(model.predict(x_test, verbose=0), y_test)
    assert wanted > 0.9
    qmodel = accq.quantize(
        model, acc_bits, method=method, calibration_data=x[:512], input_range=(0, 16)
    )
    if method == "a2q":
        _train(qmodel, x, y, 2, 5e-4)
    accq.round_biases(qmodel)
    logits = qmodel.predict(x_test, verbose=0)
    assert _accuracy(logits, y_test) > wanted - 0.01

    certificate = accq.convert(qmodel, tmp_path / "custom.tflite", output_type="float32")
    assert certificate.verdict == f"P = {acc_bits} monolithic: all 6 ops"
    grown = {op.name: op for op in certificate.ops if op.kind == "transpose_conv"}
    assert set(grown) == {"up1", "up2", "classes"}
    assert max(grown["up1"].phase_worst_case) < max(grown["up1"].worst_case)
    assert grown["classes"].phase_worst_case == grown["classes"].worst_case  # stride 1
    accq.rewrite(tmp_path / "custom.tflite", tmp_path / "builtin.tflite", ops="builtin")

    entry = Interpreter(model_path=str(tmp_path / "builtin.tflite")).get_input_details()[0]
    scale, zero_point = entry["quantization"]
    integers = np.clip(np.rint(x_test / 16 / scale) + zero_point, -128, 127).astype(np.int8)
    (stock,) = outputs(Interpreter, tmp_path / "builtin.tflite", [integers])
    (ours,) = outputs(accq.Interpreter, tmp_path / "custom.tflite", [integers])
    np.testing.assert_array_equal(ours, stock)
    step = float(qmodel.layers[-1].quantization()[0])
    difference = np.abs(stock - logits)
    assert np.mean(difference > 0.5 * step) <= 0.001
    assert difference.max() <= 2.01 * step
    for bits, overflows in ((acc_bits, False), (acc_bits - 5, True)):
        simulated = accq.simulate(tmp_path / "custom.tflite", integers[:16], acc_bits=bits)
        assert (simulated.overflows > 0) == overflows
