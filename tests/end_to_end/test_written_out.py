"""A network of shared, nested, separable and lone layers and gates: every way to quantize it."""

import numpy as np
import pytest

import keras_accq as accq

pytestmark = pytest.mark.slow

_IMAGES = np.random.default_rng(0).normal(size=(48, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def model():
    import keras

    L = keras.layers
    keras.utils.set_random_seed(0)
    block = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            L.Conv2D(4, 3, padding="same", use_bias=False, name="conv"),
            L.BatchNormalization(name="norm"),
            L.ReLU(name="relu"),
        ],
        name="block",
    )
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.SeparableConv2D(4, 3, padding="same", activation="relu", name="separable")(inputs)
    x = L.BatchNormalization(name="lone")(block(block(x)))
    gate = L.Dense(4, activation="sigmoid", name="gate")(L.GlobalAveragePooling2D(name="mean")(x))
    x = L.Multiply(name="gated")([x, L.Reshape((1, 1, 4), name="image_gate")(gate)])
    x = L.Dense(4, activation="tanh", name="hidden")(L.GlobalMaxPooling2D(name="largest")(x))
    return keras.Model(inputs, L.Dense(3, name="out")(x))


def _check(qmodel, path, acc_bits=16) -> None:
    """Converts, and compares with stock LiteRT."""
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    accq.round_biases(qmodel)
    certificate = accq.convert(
        qmodel, path, input_type="float32", output_type="float32", ops="builtin"
    )
    assert certificate.verdict == f"P = {acc_bits} monolithic: all 8 ops"
    assert {"separable-depthwise", "lone-scale", "block-conv", "block-conv-call2"} < {
        op.name for op in certificate.ops
    }
    (stock,) = outputs(Interpreter, path, [_IMAGES])
    wanted = qmodel.predict(_IMAGES, verbose=0)
    step = float(qmodel.layers[-1].quantization()[0])
    assert np.abs(stock - wanted).max() <= 2.01 * step
    assert np.mean(np.abs(stock - wanted) > 0.5 * step) <= 0.01


def test_ranges_observed_in_training(model, tmp_path) -> None:
    qmodel = accq.quantize(model, 16)
    qmodel.compile("adam", "mse", run_eagerly=True)
    qmodel.fit(_IMAGES, np.zeros((48, 3)), verbose=0)
    _check(qmodel, tmp_path / "m.tflite")


def test_fixed_point(model, tmp_path) -> None:
    qmodel = accq.quantize(model, 16, calibration_data=_IMAGES, scheme="fixed_point")
    _check(qmodel, tmp_path / "m.tflite")


def test_recipes_give_the_same_integers(model) -> None:
    options = {"method": "axe", "calibration_data": _IMAGES}
    qmodel = accq.quantize(model, 14, **options)
    recipe = accq.Recipe.from_json(accq.recipe_of(qmodel).to_json())
    again = accq.quantize(model, recipe=recipe, calibration_data=_IMAGES)
    for a, b in zip(qmodel.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_search(model, tmp_path) -> None:
    recipe = accq.search(model, 16, calibration_data=_IMAGES, scheme="free", progress=False)
    assert [layer.name for layer in recipe.layers] == [
        "separable-depthwise", "separable-pointwise", "block-conv", "lone-scale", "gate", "hidden",
        "out",
    ]  # fmt: skip
    (gate,) = (tensor for tensor in recipe.tensors if tensor.name == "gate-sigmoid")
    assert (gate.bits, gate.range) == (8, (0.0, 255 / 256))
    (hidden,) = (layer for layer in recipe.layers if layer.name == "out")
    assert hidden.input_bits == 8
    _check(accq.quantize(model, recipe=recipe), tmp_path / "m.tflite")


def test_auto(model, tmp_path) -> None:
    wanted = model.predict(_IMAGES, verbose=0)

    def score(qmodel) -> float:
        return -float(np.square(qmodel.predict(_IMAGES, verbose=0) - wanted).mean())

    qmodel = accq.quantize(
        model, 14, method="auto", calibration_data=_IMAGES, evaluate=score, time_limit=10
    )
    _check(qmodel, tmp_path / "m.tflite", 14)


def test_equalization_and_corrections(model, tmp_path) -> None:
    qmodel = accq.quantize(model, 14, method="axe", equalize=True, calibration_data=_IMAGES)
    _check(qmodel, tmp_path / "equalized.tflite", 14)
    qmodel = accq.quantize(model, 14, calibration_data=_IMAGES)
    accq.correct_biases(qmodel, model, _IMAGES)
    accq.reestimate_batchnorm(qmodel, _IMAGES, model)
    _check(qmodel, tmp_path / "corrected.tflite", 14)


def test_stripped_it_is_the_same_model_again(model, tmp_path) -> None:
    qmodel = accq.quantize(model, 16, calibration_data=_IMAGES)
    plain = accq.strip(qmodel)
    # The block is called twice and has its weights once.
    assert len(plain.weights) == len(model.weights) + len(["lone-scale"])
    again = accq.quantize(plain, 16, calibration_data=_IMAGES)
    assert [layer.name for layer in accq.summary(again).layers] == [
        layer.name for layer in accq.summary(qmodel).layers
    ]
    qmodel.save(tmp_path / "q.keras")
    loaded = accq.load_model(tmp_path / "q.keras")
    np.testing.assert_array_equal(
        loaded.predict(_IMAGES, verbose=0), qmodel.predict(_IMAGES, verbose=0)
    )
