"""scheme="fixed_point": every scale is a power of two, in training and in the file."""

import keras
import keras_models
import numpy as np
import pytest

import keras_accq as accq
from keras_accq.layers import ActivationQuantizer, QuantizedWeights
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load


def _are_powers_of_two(scales) -> bool:
    return bool((np.frexp(np.asarray(scales, np.float64))[0] == 0.5).all())


def _check_layers(qmodel: keras.Model) -> None:
    for layer in qmodel.layers:
        if isinstance(layer, QuantizedWeights):
            assert _are_powers_of_two(layer.quantized_kernel()[1]), layer.name
        elif isinstance(layer, ActivationQuantizer):
            scale, zero_point = layer.quantization()
            assert _are_powers_of_two(scale), layer.name
            assert zero_point in (0, -(2 ** (layer.bits - 1)))


def _quantized(**arguments) -> keras.Model:
    return accq.quantize(
        keras_models.sequential(),
        calibration_data=keras_models.images(),
        scheme="fixed_point",
        **arguments,
    )


@pytest.mark.parametrize("method", ["a2q", "round"])
@pytest.mark.parametrize("exclude", [(), "first_last"])
def test_all_scales_are_powers_of_two(method: str, exclude, tmp_path) -> None:
    qmodel = _quantized(acc_bits=14, method=method, exclude=exclude)
    _check_layers(qmodel)
    qmodel.save(tmp_path / "q.keras")
    _check_layers(accq.load_model(tmp_path / "q.keras"))
    stripped = accq.strip(qmodel)
    assert not any(isinstance(layer, QuantizedWeights) for layer in stripped.layers)


@pytest.mark.parametrize("method", ["a2q", pytest.param("round", marks=pytest.mark.slow)])
def test_they_stay_so_in_training(method: str) -> None:
    qmodel = _quantized(acc_bits=14, method=method)
    before = [layer.quantized_kernel()[1] for layer in qmodel.layers if hasattr(layer, "operands")]
    rng = np.random.default_rng(0)
    qmodel.compile(keras.optimizers.Adam(0.4), "sparse_categorical_crossentropy")
    qmodel.fit(keras_models.images(), rng.integers(0, 5, 64), epochs=2, verbose=0)
    _check_layers(qmodel)
    after = [layer.quantized_kernel()[1] for layer in qmodel.layers if hasattr(layer, "operands")]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_observed_ranges_are_fixed_point_too() -> None:
    qmodel = accq.quantize(keras_models.sequential(), 14, scheme="fixed_point")
    qmodel(keras_models.images(), training=True)
    _check_layers(qmodel)


def test_the_file_holds_powers_of_two(tmp_path) -> None:
    qmodel = _quantized(acc_bits=14, method="round")
    path = tmp_path / "fixed.tflite"
    certificate = accq.convert(qmodel, path)
    assert all(op.fits for op in certificate.ops)
    ops = quantized_ops(load(path))
    assert len(ops) == 3
    for op in ops:
        assert _are_powers_of_two(op.s_x)
        assert _are_powers_of_two(op.s_w)
        assert _are_powers_of_two(op.s_y)


def test_weights_are_nearest_on_a_grid_that_fits() -> None:
    """At a wide accumulator nothing is lost but the rounding: half a step of 8 bits."""
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(4, name="dense")])
    model = keras_models.randomized(model)
    x = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)
    qmodel = accq.quantize(
        model, 32, weight_bits=8, calibration_data=x, scheme="fixed_point", method="round"
    )
    q, scale = qmodel.get_layer("dense").quantized_kernel()
    w = np.array(model.get_layer("dense").kernel)
    largest = np.abs(w).max(axis=0)
    inside = np.abs(w) <= 127 * scale
    assert (np.abs(q * scale - w)[inside] <= np.broadcast_to(scale, w.shape)[inside] / 2).all()
    # FL = B - 1 - IL, or one more where clipping the largest weights pays.
    ratio = scale / 2.0 ** (np.ceil(np.log2(largest)) - 7)
    assert set(ratio) <= {1.0, 0.5}


def test_bad_schemes_and_other_scales_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scheme: expected one of .*'free'.*received 'int'"):
        accq.quantize(keras_models.sequential(), scheme="int")
    layer = _quantized(acc_bits=14, method="round").get_layer("conv2")
    q, scale = layer.quantized_kernel()
    with pytest.raises(ValueError, match="conv2: expected powers of two"):
        layer.set_integer_weights(q, scale * 1.5)
    layer.set_integer_weights(q, scale * 2)
