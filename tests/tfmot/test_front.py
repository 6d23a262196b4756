"""`accq.quantize` and its companions on tf_keras models, against Keras 3."""

import keras
import numpy as np
import pytest
import tf_keras
from tf_keras_models import L, digits, residual

import keras_accq as accq
from keras_accq.errors import UnsupportedModelError
from keras_accq.tfmot.packages import check_version
from keras_accq.tfmot.to_keras3 import float_model, quantized_model


@pytest.mark.slow
@pytest.mark.parametrize("method", ["a2q", "a2q+", "a2q_unsigned", "type_bound", "round", "axe"])
def test_both_kerases_make_the_same_file(method, tmp_path) -> None:
    x, _ = digits()
    widths = {"weight_bits": 4, "input_bits": 4} if method == "type_bound" else {}
    options = {"acc_bits": 18, "method": method, "calibration_data": x[:64], **widths}
    old = residual()
    qold, qnew = accq.quantize(old, **options), accq.quantize(float_model(old), **options)
    assert isinstance(qold, tf_keras.Model)
    assert isinstance(qnew, keras.Model)
    np.testing.assert_allclose(
        qold.predict(x[:32], verbose=0), qnew.predict(x[:32], verbose=0), atol=1e-5
    )
    files = [tmp_path / "old.tflite", tmp_path / "new.tflite"]
    for qmodel, path in zip((qold, qnew), files, strict=True):
        accq.convert(qmodel, path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert accq.recipe_of(qold) == accq.recipe_of(qnew)


def test_both_kerases_train_alike() -> None:
    x, y = digits()
    qold = accq.quantize(residual(), input_range=(0, 1))
    qnew = quantized_model(qold)
    qold.compile(tf_keras.optimizers.SGD(0.1), tf_keras.losses.SparseCategoricalCrossentropy(True))
    qnew.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(True))
    for qmodel in (qold, qnew):
        qmodel.fit(x[:32], y[:32], batch_size=32, epochs=1, shuffle=False, verbose=0)
    old = {layer.name: layer for layer in quantized_model(qold).layers}
    for layer in qnew.layers:
        for a, b in zip(layer.get_weights(), old[layer.name].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_weight_decay_leaves_scales_alone() -> None:
    qmodel = accq.quantize(residual(), input_range=(0, 1))
    optimizer = tf_keras.optimizers.AdamW(weight_decay=0.1)
    accq.exclude_from_weight_decay(optimizer, qmodel)
    wrapper = qmodel.get_layer("quant_conv")
    assert not optimizer._use_weight_decay(wrapper.parameters["log2_scale"])
    assert optimizer._use_weight_decay(wrapper.variable)


def test_layers_that_become_several(tmp_path) -> None:
    inputs = tf_keras.Input((8, 8, 3))
    x = L.SeparableConv2D(4, 3, activation="swish", name="separable")(inputs)
    x = L.PReLU(shared_axes=[1, 2], name="prelu")(L.Conv2D(4, 1, name="conv")(x))
    x = L.LeakyReLU(0.25, name="leaky")(L.Conv2D(4, 1, name="point")(x) * 2.0 + 1.0)
    model = tf_keras.Model(inputs, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(x)))
    x = np.random.default_rng(0).random((16, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        float_model(model).predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
    )
    qmodel = accq.quantize(model, calibration_data=x)
    np.testing.assert_allclose(qmodel.predict(x, verbose=0), model.predict(x, verbose=0), atol=0.05)
    qmodel.save(tmp_path / "model.keras")
    loaded = accq.load_model(tmp_path / "model.keras")
    accq.convert(loaded, tmp_path / "model.tflite")


def test_layers_of_both_kerases_are_refused() -> None:
    inputs = tf_keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(3, 3)(inputs)
    model = tf_keras.Model(inputs, L.Conv2D(2, 1)(x))
    with pytest.raises(UnsupportedModelError, match=r"tf\.nn\.convolution.*use one Keras"):
        accq.quantize(model)


def test_keras_3_operations_that_tf_keras_has_are_taken(tmp_path) -> None:
    """A layer of Keras 3 in a tf_keras model leaves TensorFlow's operations: this one is known."""
    inputs = tf_keras.Input((4, 4, 1))
    model = tf_keras.Model(inputs, keras.layers.ReLU()(L.Conv2D(2, 1)(inputs)))
    x = np.random.default_rng(0).random((8, 4, 4, 1)).astype(np.float32)
    qmodel = accq.quantize(model, calibration_data=x)
    assert accq.convert(qmodel, tmp_path / "model.tflite").verdict == "P = 16 monolithic: all 1 op"


def test_sequential_models_take_layers_of_their_keras_only() -> None:
    with pytest.raises(TypeError, match="must be an instance of class Layer"):
        tf_keras.Sequential([tf_keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"Only instances of `keras\.Layer`"):
        keras.Sequential([keras.Input((4,)), L.Dense(3)])


def test_quantized_models_are_no_part_of_models_of_the_other_keras() -> None:
    qold = accq.quantize(residual(), input_range=(0, 1))
    qnew = quantized_model(qold)
    refused = r"image_quantizer: a layer of tf_keras can not be part of a model of Keras 3"
    with pytest.raises(TypeError, match=refused):
        qold(keras.Input((8, 8, 1)))
    refused = r"image_quantizer: a layer of Keras 3 can not be part of a model of tf_keras"
    with pytest.raises(TypeError, match=refused):
        qnew(tf_keras.Input((8, 8, 1)))
    assert qold(tf_keras.Input((8, 8, 1))).shape == (None, 10)
    assert qnew(keras.Input((8, 8, 1))).shape == (None, 10)


def test_optimizers_are_of_the_models_keras() -> None:
    qold = accq.quantize(residual(), input_range=(0, 1))
    qnew = quantized_model(qold)
    with pytest.raises(TypeError, match=r"expected one of tf_keras.*'digits'.*AdamW of Keras 3"):
        accq.exclude_from_weight_decay(keras.optimizers.AdamW(), qold)
    with pytest.raises(TypeError, match=r"expected one of Keras 3.*'digits'.*AdamW of tf_keras"):
        accq.exclude_from_weight_decay(tf_keras.optimizers.AdamW(), qnew)


def test_functions_for_keras_3_refuse_tf_keras() -> None:
    qmodel = accq.quantize(residual(), input_range=(0, 1))
    x, _ = digits()
    for call in (
        lambda: accq.equalize(residual()),
        lambda: accq.correct_biases(qmodel, residual(), x[:8]),
        lambda: accq.reestimate_batchnorm(qmodel, x[:8]),
        lambda: accq.round_biases(qmodel),
        lambda: accq.search(residual(), lambda model: 0.5, calibration_data=x[:8]),
    ):
        with pytest.raises(UnsupportedModelError, match="expected a Keras 3 model"):
            call()


def test_what_is_not_supported_is_listed() -> None:
    model = tf_keras.Sequential(
        [
            L.Dense(3, input_shape=(4,), activation="hard_sigmoid", name="gate"),
            L.ELU(name="elu"),
            L.LayerNormalization(name="norm"),
        ]
    )
    wanted = r"gate: activation[\s\S]*elu: ELU is not[\s\S]*norm: .* expected a model of Keras 3"
    with pytest.raises(UnsupportedModelError, match=wanted):
        accq.quantize(model)


def test_subclassed_models_are_refused() -> None:
    class Own(tf_keras.Model):
        pass

    with pytest.raises(UnsupportedModelError, match="whose layers can not be listed"):
        accq.quantize(Own())


def test_convert_asks_for_a_quantized_model(tmp_path) -> None:
    with pytest.raises(UnsupportedModelError, match="holds no quantized layer"):
        accq.convert(residual(), tmp_path / "model.tflite")
    with pytest.raises(UnsupportedModelError, match="quantized already"):
        accq.quantize(accq.quantize(residual()))


def test_versions_not_tried_are_refused() -> None:
    check_version("0.8.1")
    with pytest.raises(ImportError, match=r"0\.9\.0 is newer .* expected 0\.8\.x"):
        check_version("0.9.0")


def test_the_extra_is_named_where_tfmot_is_missing(monkeypatch) -> None:
    import importlib.metadata
    import runpy

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match=r"keras-accq\[tfmot\]"):
        runpy.run_module("keras_accq.tfmot.packages")
