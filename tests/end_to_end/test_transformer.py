"""A small transformer all the way: trained, quantized, converted, certified, run.

The digits of scikit-learn, whose 8 rows are 8 positions of 8 pixels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import keras_accq as accq

pytestmark = pytest.mark.slow
BLOCKS, WIDTH, HEADS = 2, 16, 2
PRODUCTS = [f"attention{b}-{part}" for b in range(BLOCKS) for part in ("scores", "mixed")]


class Case(NamedTuple):
    """A float model, its quantized one, calibration and other data, and the file."""

    model: object
    qmodel: object
    calibration: np.ndarray
    x: np.ndarray
    y: np.ndarray
    path: Path
    certificate: accq.Certificate


def _transformer(causal: bool):
    import keras

    layers = keras.layers
    x = inputs = keras.Input((8, 8))
    # A row of the digit, and the column of the same number: rows alone do not say where they are.
    x = layers.Concatenate()([x, layers.Permute((2, 1))(x)])
    x = layers.Dense(WIDTH, name="embed")(x)
    for block in range(BLOCKS):
        y = layers.LayerNormalization(name=f"norm{block}a")(x)
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"attention{block}")
        x = layers.Add()([x, attention(y, y, use_causal_mask=causal)])
        y = layers.LayerNormalization(name=f"norm{block}b")(x)
        y = layers.Dense(2 * WIDTH, activation="gelu", name=f"wide{block}")(y)
        x = layers.Add()([x, layers.Dense(WIDTH, name=f"narrow{block}")(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(name="norm")(x))
    return keras.Model(inputs, layers.Dense(10, name="logits")(x))


def _train(model, x, y, epochs: int, rate: float) -> None:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiling with XLA takes longer than these few steps.
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


@pytest.fixture(scope="module", params=["a2q", "causal, axe"])
def case(request, tmp_path_factory) -> Case:
    import keras
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 8 - 1).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = _transformer("causal" in request.param)
    _train(model, images[:1400], labels[:1400], 8, 3e-3)
    method = request.param.split()[-1]
    qmodel = accq.quantize(model, 16, method=method, calibration_data=images[:256])
    if method == "a2q":
        _train(qmodel, images[:1400], labels[:1400], 1, 3e-4)
    accq.round_biases(qmodel)
    path = tmp_path_factory.mktemp("transformer") / "custom.tflite"
    data = images[:256], images[1400:], labels[1400:]
    return Case(model, qmodel, *data, path, accq.convert(qmodel, path))


def _ends(path, x):
    """The integers of a file's input, and the scale and zero point of its output."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    ((scale, zero_point),) = (d["quantization"] for d in interpreter.get_input_details())
    integers = np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8)
    return integers, interpreter.get_output_details()[0]["quantization"]


def test_the_file_predicts_what_keras_does(case: Case, tmp_path, delegate_library) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    builtin = tmp_path / "builtin.tflite"
    accq.convert(case.qmodel, builtin, ops="builtin")
    integers, (scale, zero_point) = _ends(builtin, case.x)
    (stock,) = outputs(Interpreter, builtin, [integers])
    (ours,) = outputs(accq.Interpreter, case.path, [integers])
    np.testing.assert_array_equal(ours, stock)
    logits = case.qmodel.predict(case.x, verbose=0)
    steps = np.abs(np.rint(logits / scale) + zero_point - ours)
    assert np.mean(steps == 0) >= 0.99
    # An activation that float32 rounds another way moves all logits of its example, some by more.
    assert np.mean(steps <= 2) >= 0.999
    assert np.mean(ours.argmax(axis=1) == logits.argmax(axis=1)) >= 0.99


def test_it_predicts_as_well_as_the_float_model(case: Case) -> None:
    floats, quantized = (
        np.mean(model.predict(case.x, verbose=0).argmax(axis=1) == case.y)
        for model in (case.model, case.qmodel)
    )
    assert floats > 0.85
    assert quantized > floats - 0.03


def test_dense_layers_are_certified_and_products_named(case: Case) -> None:
    certificate = case.certificate
    assert certificate == accq.verify(case.path)
    projections = [
        f"attention{b}-{p}" for b in range(2) for p in ("query", "key", "value", "output")
    ]
    others = ["embed", "logits", *(f"{p}{b}" for b in range(BLOCKS) for p in ("wide", "narrow"))]
    assert {op.name for op in certificate.ops} == {*projections, *others}
    assert certificate.ok
    assert all(str(op.partition) == "monolithic" for op in certificate.ops)
    assert [op.name for op in certificate.excluded] == PRODUCTS
    assert certificate.verdict == (
        "P = 16 monolithic: 14 of 18 ops; not covered: 4 ops: "
        + ", ".join(PRODUCTS)
        + " (BATCH_MATMUL: a product of two activations is not bounded by this certificate: it "
        "stays a built-in with 32-bit sums)"
    )


def test_float_operators_have_the_name_of_their_layer(case: Case) -> None:
    from keras_accq.tflite.reader import load

    (graph,) = load(case.path).subgraphs
    names = {tensor.name for tensor in graph.tensors}
    assert set(accq.summary(case.qmodel).in_float) <= names


def test_saved_and_stripped_models_are_the_same(case: Case, tmp_path) -> None:
    case.qmodel.save(tmp_path / "q.keras")
    again = accq.load_model(tmp_path / "q.keras")
    logits = case.qmodel.predict(case.x, verbose=0)
    np.testing.assert_array_equal(again.predict(case.x, verbose=0), logits)
    stripped = accq.strip(again).predict(case.x, verbose=0)
    assert np.mean(stripped.argmax(axis=1) == logits.argmax(axis=1)) > 0.95


def test_float_ends(case: Case, tmp_path) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    path = tmp_path / "float.tflite"
    accq.convert(case.qmodel, path, ops="builtin", input_type="float32", output_type="float32")
    (found,) = outputs(Interpreter, path, [case.x])
    logits = case.qmodel.predict(case.x, verbose=0)
    assert np.mean(found.argmax(axis=1) == logits.argmax(axis=1)) >= 0.99


def test_a_recipe_makes_the_same_integers(case: Case, tmp_path) -> None:
    recipe = accq.recipe_of(case.qmodel)
    one, other = (
        accq.quantize(case.model, recipe=recipe, calibration_data=case.calibration)
        for _ in range(2)
    )
    key = one.get_layer("attention0-key_quantizer")
    assert key.quantization() == case.qmodel.get_layer(key.name).quantization()
    assert key.quantization()[1] == 0
    for layer in accq.summary(one).layers:
        integers = [m.get_layer(layer.name).quantized_kernel()[0] for m in (one, other)]
        np.testing.assert_array_equal(*integers)


def test_integers_can_not_be_exported(case: Case, tmp_path) -> None:
    with pytest.raises(accq.UnsupportedModelError, match=r"'attention0-scores'.*product of two"):
        accq.export_integers(case.path, tmp_path / "integers.npz")
