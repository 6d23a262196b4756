import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_accq.layers import ActivationQuantizer


def _built(**arguments) -> ActivationQuantizer:
    layer = ActivationQuantizer(name="relu_quantizer", **arguments)
    layer.build((None, 4))
    return layer


def test_range_is_set_once_without_observing() -> None:
    layer = _built(bits=4, observe=False)
    layer.set_range(0, 1.5)
    scale, zero_point = layer.quantization()
    assert scale == pytest.approx(0.1)
    assert zero_point == -8
    layer(np.full((2, 4), 100, np.float32), training=True)
    assert layer.quantization() == (scale, zero_point)


def test_narrow_clamps_and_wide_does_not() -> None:
    layer = _built(bits=4, observe=False)
    layer.set_range(0, 1.5)
    x = np.float32([[-1, 0.52, 1.6, 40]])
    np.testing.assert_allclose(layer(x), [[-1, 0.5, 1.6, 13.5]], rtol=1e-6)
    np.testing.assert_allclose(layer(x, narrow=True), [[0, 0.5, 1.5, 1.5]], rtol=1e-6)


def test_training_observes_moving_averages() -> None:
    layer = _built()
    layer(np.float32([[-1, 0, 1, 3]]), training=True)
    assert float(layer.low) == -1
    assert float(layer.high) == 3
    layer(np.float32([[0, 0, 1, 5]]), training=True)
    assert float(layer.low) == pytest.approx(-0.9)
    assert float(layer.high) == pytest.approx(3.2)
    scale, zero_point = layer.quantization()
    assert scale == pytest.approx(4.1 / 255)
    assert zero_point == round(-128 + 0.9 / scale)
    before = layer.quantization()
    layer(np.float32([[9, 9, 9, 9]]), training=False)
    layer(np.float32([[9, 9, 9, 9]]), training=True, requantize=True)
    assert layer.quantization() == before


def test_infinite_values_do_not_spoil_the_range() -> None:
    layer = _built()
    layer(np.float32([[0, 1, 2, 3]]), training=True)
    layer(np.float32([[0, 1, np.inf, np.nan]]), training=True)
    assert np.isfinite(layer.quantization()[0])
    assert float(layer.high) == 3


def test_few_bits_clip_rare_large_values() -> None:
    layer = _built(bits=4, clip=3.0)
    x = np.abs(np.random.default_rng(0).normal(size=(100, 400))).astype(np.float32)
    # What a ReLU zeroes says nothing about how large the others are.
    x[:, ::2] = 0
    x[0, 1] = 1000
    x[1, 1] = 0
    layer(np.where(x > 100, 0, x), training=True)
    assert float(layer.high) == pytest.approx(3.0, rel=0.02)
    assert float(layer.low) == 0
    small = _built(bits=4, clip=3.0)
    small(np.float32([[0, 1, 1, 1]]), training=True)
    assert float(small.high) == 1


def test_zeros_alone_have_a_grid() -> None:
    layer = _built()
    layer(np.zeros((2, 4), np.float32), training=True)
    assert layer.quantization()[0] > 0
    np.testing.assert_array_equal(layer(np.zeros((2, 4), np.float32)), 0)


def test_inference_with_a_range_never_observed_names_the_tensor() -> None:
    layer = _built()
    x = np.ones((1, 4), np.float32)
    with pytest.raises(ValueError, match="relu_quantizer: no range was ever observed"):
        layer(x)
    with pytest.raises(ValueError, match="relu_quantizer"):
        layer.quantization()
    traced = tf.function(lambda x: layer(x, training=False))
    with pytest.raises(ValueError, match="relu_quantizer"):
        traced(x)
    layer(x, training=True)
    layer(x)
    traced(x)
    layer.quantization()


def test_building_a_model_and_training_it_need_no_range() -> None:
    inputs = keras.Input((4,))
    layer = ActivationQuantizer(name="q")
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse")
    x = np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match="q: no range was ever observed"):
        model.predict(x, verbose=0)
    model.fit(x, x, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), x, rtol=1e-5)


@pytest.mark.parametrize("bad", [(0.0, np.nan), (2.0, 1.0), (0.0, np.inf)])
def test_bad_ranges_are_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="relu_quantizer"):
        _built().set_range(*bad)


def test_bad_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2\.\.8"):
        ActivationQuantizer(9)
    with pytest.raises(TypeError):
        ActivationQuantizer(True)


def test_mixed_precision_computes_in_float32() -> None:
    layer = _built(observe=False, dtype="mixed_bfloat16")
    layer.set_range(0, 255)
    y = layer(np.arange(256, dtype=np.float32))
    assert y.dtype == "bfloat16"
    np.testing.assert_array_equal(keras.ops.cast(y, "float32"), np.arange(256))


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_the_spanned_range_restores_the_grid_exactly(bits: int, power_of_two: bool) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(50):
        low, high = sorted(rng.normal(size=2) * 10.0 ** rng.integers(-6, 6))
        first, second = (ActivationQuantizer(bits, False, None, power_of_two) for _ in range(2))
        for layer in (first, second):
            layer.build((None, 3))
        first.set_range(low, high)
        second.set_range(*first.spanned())
        assert second.quantization() == first.quantization()


def _learning(**arguments) -> ActivationQuantizer:
    layer = _built(bits=4, observe=False, learn=True, **arguments)
    layer.set_range(0, 1.5)
    return layer


def test_a_learned_scale_starts_at_the_range_set_and_follows_its_gradient() -> None:
    layer = _learning()
    fixed = _built(bits=4, observe=False)
    fixed.set_range(0, 1.5)
    assert layer.quantization() == fixed.quantization()
    # Beyond the range the output is 15·s, so that s·d/ds is 15·s; inside, (round(u) - u)·s.
    for value, wanted in ((40.0, 1.5), (0.56, (6 - 5.6) * 0.1), (-1.0, 0.0)):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(layer(np.float32([[value]]), narrow=True))
        (gradient,) = tape.gradient(y, [layer.log2_gain.value])
        assert float(gradient) == pytest.approx(wanted * np.log(2), abs=1e-5)
    layer.log2_gain.assign(1.0)
    assert layer.quantization()[0] == pytest.approx(2 * fixed.quantization()[0])
    np.testing.assert_allclose(layer(np.float32([[40]]), narrow=True), [[3.0]], rtol=1e-6)
    low, high = layer.spanned()
    layer.set_range(low, high)
    assert layer.spanned() == (low, high)
    assert float(layer.log2_gain) == 0


@pytest.mark.slow
def test_training_widens_a_range_that_clips() -> None:
    inputs = keras.Input((4,))
    layer = ActivationQuantizer(4, observe=False, learn=True, name="q")
    model = keras.Model(inputs, layer(inputs, narrow=True))
    layer.set_range(0, 1)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    x = np.random.default_rng(0).uniform(0, 4, (64, 4)).astype(np.float32)
    before = model.evaluate(x, x, verbose=0)
    model.fit(x, x, epochs=60, verbose=0)
    assert layer.spanned()[1] == pytest.approx(4, abs=0.4)
    assert model.evaluate(x, x, verbose=0) < before / 50


def test_a_learned_scale_survives_saving(tmp_path) -> None:
    inputs = keras.Input((4,))
    layer = ActivationQuantizer(4, observe=False, learn=True, name="q")
    model = keras.Model(inputs, layer(inputs))
    layer.set_range(0, 1)
    layer.log2_gain.assign(0.3)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.get_layer("q").quantization() == layer.quantization()


@pytest.mark.parametrize("gain", [np.nan, -300.0, 300.0])
def test_a_scale_that_diverged_is_refused(gain: float) -> None:
    layer = _learning()
    layer.log2_gain.assign(gain)
    with pytest.raises(ValueError, match="relu_quantizer: expected a positive scale"):
        layer.quantization()


def test_only_fixed_ranges_are_learned() -> None:
    for conflict in ({"observe": True}, {"observe": False, "power_of_two": True}):
        with pytest.raises(ValueError, match="learn"):
            ActivationQuantizer(4, learn=True, **conflict)


@pytest.mark.parametrize("observe", [False, True])
def test_a_symmetric_grid_is_so_however_its_range_comes(observe: bool) -> None:
    layer = _built(bits=8, observe=observe, symmetric=True)
    x = np.array([-1.0, 0.0, 0.2, 3.0], np.float32)
    if observe:
        layer(x, training=True)
    else:
        layer.set_range(-1.0, 3.0)
    scale, zero_point = layer.quantization()
    assert zero_point == 0
    assert scale == pytest.approx(3 / 127)
    low, high = layer.spanned()
    layer.set_range(low, high)
    assert layer.quantization() == (scale, 0)
    assert ActivationQuantizer.from_config(layer.get_config()).symmetric
