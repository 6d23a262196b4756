"""tfmot's own functions with keras-accq's config and scheme."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras_models import L, compiled, digits, residual

import keras_accq as accq
from keras_accq.errors import UnsupportedModelError

Q = tfmot.quantization.keras


def applied(model=None, **options):
    annotated = Q.quantize_annotate_model(residual() if model is None else model)
    return Q.quantize_apply(
        annotated, scheme=accq.AccumulatorQuantizeScheme(**{"input_range": (0, 1), **options})
    )


@pytest.mark.slow
def test_digits_are_trained_certified_converted_and_run(tmp_path, delegate_library) -> None:
    x, y = digits()
    qmodel = compiled(applied())
    qmodel.fit(x[:1400], y[:1400], epochs=4, verbose=0)
    expected = qmodel.predict(x, verbose=0)
    assert (expected.argmax(1) == y).mean() > 0.9
    path = tmp_path / "digits.tflite"
    certificate = accq.convert(qmodel, path, output_type="float32", input_type="float32")
    assert certificate.verdict == "P = 16 monolithic: all 3 ops"
    interpreter = accq.Interpreter(path)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    sink = interpreter.get_output_details()[0]["index"]
    found = []
    for image in x:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(sink)[0])
    step, _ = qmodel.get_layer("logits_quantizer").quantization()
    assert (np.argmax(found, 1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(np.array(found) - expected).max() <= 2.001 * step


def test_conv_norm_relu_get_one_quantizer() -> None:
    names = [layer.name for layer in applied().layers]
    assert names.index("relu") == names.index("quant_conv") + 2
    assert [name for name in names if name.endswith("_quantizer")] == [
        "image_quantizer",
        "relu_quantizer",
        "depthwise_quantizer",
        "sum_quantizer",
        "logits_quantizer",
    ]


def test_annotated_layers_alone_are_constrained() -> None:
    config = accq.AccumulatorQuantizeConfig(acc_bits=14, weight_bits=5, input_bits=6)
    model = tf_keras.Sequential(
        [
            L.Conv2D(4, 3, input_shape=(8, 8, 1), name="first"),
            Q.quantize_annotate_layer(L.Conv2D(4, 3, activation="relu", name="second"), config),
            L.Flatten(),
            L.Dense(3, name="last"),
        ]
    )
    qmodel = Q.quantize_apply(model, scheme=accq.AccumulatorQuantizeScheme(input_range=(0, 1)))
    first, second, last = accq.summary(qmodel).layers
    assert first.excluded
    assert last.excluded
    assert (second.acc_bits, second.weight_bits, second.input_bits) == (14, 5, 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved"])
def test_saved_models_are_loaded_as_they_were(name, tmp_path) -> None:
    x, y = digits()
    qmodel = compiled(applied())
    qmodel.fit(x[:64], y[:64], verbose=0)
    qmodel.save(tmp_path / name)
    with Q.quantize_scope():
        loaded = tf_keras.models.load_model(tmp_path / name)
    for other in (loaded, accq.load_model(tmp_path / name)):
        np.testing.assert_array_equal(
            other.predict(x[:9], verbose=0), qmodel.predict(x[:9], verbose=0)
        )
        assert str(accq.summary(other)) == str(accq.summary(qmodel))
    loaded.fit(x[:64], y[:64], verbose=0)


def test_a_config_survives_its_own_config() -> None:
    config = accq.AccumulatorQuantizeConfig(
        15, 4, 6, 32, accq.A2Q(regularization=0.01), preserve_sparsity=True
    )
    again = accq.AccumulatorQuantizeConfig.from_config(config.get_config())
    assert again == config
    assert again.method == accq.A2Q(regularization=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["a2q", "a2q+", "round"])
def test_pruned_weights_stay_zero(method, tmp_path) -> None:
    x, y = digits()
    pruned = tfmot.sparsity.keras.prune_low_magnitude(
        residual(), pruning_schedule=tfmot.sparsity.keras.ConstantSparsity(0.6, 0, frequency=1)
    )
    compiled(pruned).fit(
        x[:256], y[:256], callbacks=[tfmot.sparsity.keras.UpdatePruningStep()], verbose=0
    )
    model = tfmot.sparsity.keras.strip_pruning(pruned)
    zero = {name: model.get_layer(name).kernel.numpy() == 0 for name in ("conv", "logits")}
    assert all(values.mean() > 0.5 for values in zero.values())
    config = accq.AccumulatorQuantizeConfig(method=method, preserve_sparsity=True)
    qmodel = compiled(applied(model, config=config))
    qmodel.fit(x[:256], y[:256], verbose=0)
    stripped = accq.strip(qmodel)
    for name, values in zero.items():
        assert (stripped.get_layer(name).kernel.numpy()[values] == 0).all()
    accq.convert(qmodel, tmp_path / "sparse.tflite")
    integers = accq.export_integers(tmp_path / "sparse.tflite", tmp_path / "sparse.npz")
    for layer in integers.layers:
        if layer.name in zero:
            written = integers.arrays[f"{layer.index}/weights"].reshape(layer.channels, -1)
            pruned_weights = zero[layer.name].reshape(-1, layer.channels).T
            assert (written[pruned_weights] == 0).all()
            assert written.any()
    assert {"conv", "logits"} <= {layer.name for layer in integers.layers}


def test_a_penalty_is_part_of_the_loss() -> None:
    config = accq.AccumulatorQuantizeConfig(method=accq.A2Q(regularization=1.0))
    assert len(applied(config=config).losses) == 3
    config = accq.AccumulatorQuantizeConfig(method=accq.A2Q(regularization=0.0))
    assert not applied(config=config).losses


def test_a_config_needs_the_scheme() -> None:
    layer = Q.quantize_annotate_layer(
        L.Dense(3, input_shape=(4,)), accq.AccumulatorQuantizeConfig()
    )
    with pytest.raises(ValueError, match=r"scheme=keras_accq\.AccumulatorQuantizeScheme"):
        Q.quantize_apply(tf_keras.Sequential([layer]))


@pytest.mark.parametrize("config", ["a2q", accq.A2Q(), accq.AccumulatorQuantizeConfig])
def test_a_scheme_needs_a_config(config) -> None:
    with pytest.raises(TypeError, match="expected an AccumulatorQuantizeConfig, received"):
        accq.AccumulatorQuantizeScheme(config)


def test_what_is_for_tfmot_is_told_apart() -> None:
    annotated = Q.quantize_annotate_model(residual())
    with pytest.raises(
        UnsupportedModelError, match=r"QuantizeAnnotate, which .*quantize_apply; pass"
    ):
        accq.quantize(annotated)
    with pytest.raises(UnsupportedModelError, match=r"tfmot's own scheme made; pass the float"):
        accq.quantize(Q.quantize_apply(annotated))
    with pytest.raises(TypeError, match="method: expected one of"):
        accq.quantize(residual(), method=accq.AccumulatorQuantizeConfig())
    with pytest.raises(ValueError, match="scheme: expected one of"):
        accq.quantize(residual(), scheme=accq.AccumulatorQuantizeScheme())


def test_tfmot_refuses_keras_3() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="to_annotate"):
        Q.quantize_annotate_model(model)
    with pytest.raises(ValueError, match="to_annotate"):
        Q.quantize_annotate_layer(keras.layers.Dense(3), accq.AccumulatorQuantizeConfig())
    with pytest.raises(ValueError, match="model"):
        Q.quantize_apply(model, scheme=accq.AccumulatorQuantizeScheme())
    wrapped = Q.quantize_annotate_layer(L.Dense(3), accq.AccumulatorQuantizeConfig())
    with pytest.raises(ValueError, match=r"Only instances of `keras\.Layer`"):
        keras.Sequential([keras.Input((4,)), wrapped])


def test_a_config_for_other_layers_is_refused() -> None:
    annotate, config = Q.quantize_annotate_layer, accq.AccumulatorQuantizeConfig()
    model = tf_keras.Sequential(
        [annotate(L.Dense(3, input_shape=(4,))), annotate(L.ReLU(name="relu"), config)]
    )
    with pytest.raises(UnsupportedModelError, match="relu: AccumulatorQuantizeConfig for ReLU"):
        Q.quantize_apply(model, scheme=accq.AccumulatorQuantizeScheme())


def test_registered_objects_need_no_scope(tmp_path) -> None:
    applied().save(tmp_path / "model.keras")
    tf_keras.models.load_model(tmp_path / "model.keras")


def test_loading_without_the_package_says_what_is_missing(tmp_path) -> None:
    path = tmp_path / "model.h5"
    applied().save(path)
    code = f"import tf_keras; tf_keras.models.load_model({str(path)!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "Unknown layer: 'keras_accq>ActivationQuantizer'" in run.stderr
