"""Training and post-training on this backend; the results are left for `test_across.py`."""

import keras
import numpy as np
import pytest
from backends.networks import ACC_BITS, METHODS, attending, images, labels, small

import keras_accq as accq
from keras_accq.errors import UnsupportedModelError
from keras_accq.layers import ActivationQuantizer, QuantizedWeights

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def options(method: str) -> dict:
    """Of `quantize`."""
    widths = {"weight_bits": 4, "input_bits": 4} if method == "type_bound" else {}
    return {"method": method, "calibration_data": images(), "input_range": (0, 1), **widths}


def train(qmodel: keras.Model, **compiling) -> None:
    """Two steps."""
    qmodel.compile(keras.optimizers.SGD(0.02), LOSS, **compiling)
    qmodel.fit(images(), labels(), batch_size=32, epochs=1, shuffle=False, verbose=0)


def numbers(qmodel: keras.Model, prefix: str) -> dict[str, np.ndarray]:
    """Integers, scales, grids and outputs, by name."""
    found = {f"{prefix} outputs": qmodel.predict(images(), batch_size=32, verbose=0)}
    for layer in qmodel.layers:
        if isinstance(layer, QuantizedWeights):
            q, scales = layer.quantized_kernel()
            found |= {f"{prefix} {layer.name} q": q, f"{prefix} {layer.name} s": scales}
        if isinstance(layer, ActivationQuantizer):
            found[f"{prefix} {layer.name} grid"] = np.array(layer.quantization())
    return found


def assert_budgets_hold(qmodel: keras.Model) -> None:
    for layer in accq.summary(qmodel).layers:
        assert layer.headroom >= 0


@pytest.mark.parametrize("method", METHODS)
def test_quantized_and_trained(method, backend, exchange) -> None:
    qmodel = accq.quantize(small(), ACC_BITS, **options(method))
    found = numbers(qmodel, "quantized")
    assert_budgets_hold(qmodel)
    accq.recipe_of(qmodel).save(exchange / f"{backend}-{method}.json")
    train(qmodel)
    assert_budgets_hold(qmodel)
    found |= numbers(qmodel, "trained")
    qmodel.save(exchange / f"{backend}-{method}.keras")
    np.savez(exchange / f"{backend}-{method}.npz", **found)


def test_attention(backend, exchange) -> None:
    qmodel = accq.quantize(attending(), ACC_BITS, **options("a2q"))
    train(qmodel)
    assert_budgets_hold(qmodel)
    qmodel.save(exchange / f"{backend}-attention.keras")
    np.savez(exchange / f"{backend}-attention.npz", **numbers(qmodel, "trained"))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, backend, exchange) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    qmodel = accq.quantize(model, 12, input_range=(0, 1))
    train(qmodel)
    layers = [layer for layer in qmodel.layers if isinstance(layer, QuantizedWeights)]
    assert {layer.compute_dtype for layer in layers} == {policy.removeprefix("mixed_")}
    for layer in layers:
        integers, scales = layer._quantize()
        for tensor in (integers, scales, *layer.weights):
            assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    assert_budgets_hold(qmodel)
    # The same variables without mixed precision: the same integers, bit for bit.
    plain = accq.quantize(small(), 12, input_range=(0, 1))
    plain.set_weights(qmodel.get_weights())
    for layer in layers:
        for ours, wanted in zip(
            layer.quantized_kernel(), plain.get_layer(layer.name).quantized_kernel(), strict=True
        ):
            np.testing.assert_array_equal(ours, wanted)
    qmodel.save(exchange / f"{backend}-{policy}.keras")


def test_compiled_by_xla(backend) -> None:
    if backend == "torch":
        pytest.skip("PyTorch does not compile with XLA")
    qmodel = accq.quantize(small(), 14, input_range=(0, 1), activation_range="mse")
    train(qmodel, jit_compile=True)
    assert qmodel.jit_compile
    assert_budgets_hold(qmodel)
    assert np.isfinite(qmodel.predict(images(), verbose=0)).all()


def test_ranges_that_were_never_observed_are_told(backend) -> None:
    qmodel = accq.quantize(small(), 16)
    with pytest.raises(ValueError, match="image_quantizer: no range was ever observed"):
        qmodel(images())
    if backend == "jax":
        # What is compiled can not raise.
        assert np.isnan(qmodel.predict(images(), verbose=0)).all()
    else:
        with pytest.raises(ValueError, match="image_quantizer: no range was ever observed"):
            qmodel.predict(images(), verbose=0)


def test_files_are_saved_and_loaded(tmp_path) -> None:
    qmodel = accq.quantize(small(), 16, **options("a2q"))
    qmodel.save(tmp_path / "model.keras")
    loaded = accq.load_model(tmp_path / "model.keras")
    wanted = numbers(qmodel, "saved")
    for name, value in numbers(loaded, "saved").items():
        np.testing.assert_array_equal(value, wanted[name])


def test_convert_says_how_to_move_to_tensorflow(backend, tmp_path) -> None:
    if backend == "tensorflow":
        pytest.skip("it is TensorFlow")
    qmodel = accq.quantize(small(), 16, **options("a2q"))
    with pytest.raises(UnsupportedModelError) as caught:
        accq.convert(qmodel, tmp_path / "model.tflite")
    for text in (repr(backend), 'qmodel.save("model.keras")', "KERAS_BACKEND=tensorflow"):
        assert text in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()
