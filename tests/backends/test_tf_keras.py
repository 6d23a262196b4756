"""The front end for tf_keras, where two devices and XLA are concerned."""

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras
from backends.networks import real_data
from backends.real_files import assert_runs_as_predicted
from backends.test_real_data import BATCH, LEAST_ACCURACY, SCHEDULES
from tf_keras_models import L, digits, residual

import keras_accq as accq
from keras_accq.tfmot.layers import ActivationQuantizer
from keras_accq.tfmot.to_keras3 import quantized_model

Q = tfmot.quantization.keras


def _compile(qmodel, **options):
    qmodel.compile(
        tf_keras.optimizers.SGD(0.01),
        tf_keras.losses.SparseCategoricalCrossentropy(True),
        **options,
    )


@pytest.mark.parametrize("apply", [False, True], ids=["quantize", "quantize_apply"])
def test_two_devices_train_within_the_budget(apply, mirrored, tmp_path) -> None:
    x, y = digits()
    with mirrored.scope():
        if apply:
            scheme = accq.AccumulatorQuantizeScheme(accq.AccumulatorQuantizeConfig(12))
            qmodel = Q.quantize_apply(Q.quantize_annotate_model(residual()), scheme=scheme)
        else:
            qmodel = accq.quantize(residual(), 12)
        _compile(qmodel)
    qmodel.fit(x[:128], y[:128], batch_size=32, verbose=0, callbacks=[accq.BudgetMonitor()])
    assert len(qmodel.get_layer("quant_conv").variable.values) == 2
    assert all(layer.headroom >= 0 for layer in accq.summary(qmodel).layers)
    for layer in qmodel.layers:
        if isinstance(layer, ActivationQuantizer):
            assert float(layer.zero_point.numpy()).is_integer()
    certificate = accq.convert(qmodel, tmp_path / "model.tflite")
    assert certificate.verdict == "P = 12 monolithic: all 3 ops"


def test_compiled_by_xla() -> None:
    x, y = digits()
    qmodel = accq.quantize(residual(), 12, input_range=(0, 1))
    _compile(qmodel, jit_compile=True)
    qmodel.fit(x[:64], y[:64], batch_size=32, verbose=0)
    assert all(layer.headroom >= 0 for layer in accq.summary(qmodel).layers)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, tmp_path) -> None:
    x, y = digits()
    tf_keras.mixed_precision.set_global_policy(policy)
    try:
        model = residual()
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    qmodel = accq.quantize(model, 12, input_range=(0, 1))
    _compile(qmodel)
    qmodel.fit(x[:64], y[:64], batch_size=32, verbose=0)
    wrapper = qmodel.get_layer("quant_conv")
    assert wrapper.layer.compute_dtype == policy.removeprefix("mixed_")
    used = []
    quantize = wrapper.quantize_config.set_quantize_weights
    wrapper.quantize_config.set_quantize_weights = lambda layer, weights: (
        used.extend(weights),
        quantize(layer, weights),
    )
    wrapper(x[:1])
    # What it computes with are the integers of the file, rounded once.
    integers, scales = wrapper.weight_quantizer.integers(wrapper.variable, wrapper.parameters)
    assert integers.dtype == scales.dtype == np.float32
    wanted = wrapper.weight_quantizer.layout.from_matrix(np.array(integers * scales))
    np.testing.assert_array_equal(np.array(used[0]), wanted.astype(used[0].dtype.as_numpy_dtype))
    q, _ = quantized_model(qmodel).get_layer("conv").quantized_kernel()
    matrix = wrapper.weight_quantizer.layout.to_matrix(q)
    np.testing.assert_array_equal(matrix, np.array(integers))
    qmodel.save(tmp_path / "model.keras")
    loaded = accq.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x[:9], verbose=0), qmodel.predict(x[:9], verbose=0)
    )
    certificate = accq.convert(qmodel, tmp_path / "model.tflite")
    assert certificate.verdict == "P = 12 monolithic: all 3 ops"


def _classifier(side: int):
    return tf_keras.Sequential(
        [
            L.Rescaling(1 / 255, input_shape=(side, side, 1)),
            L.Conv2D(16, 3, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.ReLU(),
            L.MaxPooling2D(),
            L.Conv2D(32, 3, padding="same", activation="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(10, name="logits"),
        ]
    )


# `test_scheme.py` does the same with digits and `quantize_apply`.
@pytest.mark.parametrize(
    ("name", "apply"),
    [("digits", False), ("fashion", False), ("fashion", True)],
    ids=["digits-quantize", "fashion-quantize", "fashion-quantize_apply"],
)
def test_real_data(name, apply, tmp_path, delegate_library) -> None:
    x, y, x_test, y_test = real_data(name)
    epochs, rate, fine_epochs, fine_rate = SCHEDULES[name]
    tf_keras.utils.set_random_seed(0)
    model = _classifier(x.shape[1])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(rate), loss)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    data = {"calibration_data": x[:256], "input_range": (0, 255)}
    if apply:
        annotated = Q.quantize_annotate_model(model)
        qmodel = Q.quantize_apply(annotated, scheme=accq.AccumulatorQuantizeScheme(**data))
    else:
        qmodel = accq.quantize(model, 16, **data)
    qmodel.compile(tf_keras.optimizers.Adam(fine_rate), loss)
    qmodel.fit(x, y, batch_size=BATCH, epochs=fine_epochs, verbose=0)
    logits = qmodel.predict(x_test, batch_size=BATCH, verbose=0)
    accuracies = [
        np.mean(found.argmax(1) == y_test)
        for found in (model.predict(x_test, batch_size=BATCH, verbose=0), logits)
    ]
    print(f"{name} in tf_keras: float {accuracies[0]:.4f}, quantized {accuracies[1]:.4f}")
    assert min(accuracies) > LEAST_ACCURACY[name]
    assert accuracies[1] > accuracies[0] - 0.03
    step = float(qmodel.get_layer("logits_quantizer").quantization()[0])
    assert_runs_as_predicted(qmodel, x_test, logits, step, tmp_path / "model.tflite")
