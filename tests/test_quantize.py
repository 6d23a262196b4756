import warnings

import keras
import keras_models
import numpy as np
import pytest

from keras_accq.bounds import Partition, fits
from keras_accq.errors import BudgetError, UnsupportedModelError
from keras_accq.layers import ActivationQuantizer, QuantizedWeights
from keras_accq.quantize import quantize
from keras_accq.quantizers.a2q import A2Q

L = keras.layers
_IMAGES = keras_models.images()
_LABELS = np.arange(64) % 5


def _compute(model: keras.Model) -> dict[str, QuantizedWeights]:
    return {layer.name: layer for layer in model.layers if isinstance(layer, QuantizedWeights)}


def _assert_budgets_hold(model: keras.Model) -> None:
    for name, layer in _compute(model).items():
        operands = layer.operands
        q = layer.quantized_kernel()[0].reshape(-1, layer.channels).T
        if operands.acc_bits is not None:
            fit = fits(q, *operands.input_range, operands.acc_bits, operands.partition)
            assert fit.all(), name
        assert np.abs(q).max(initial=0) <= operands.largest, name


def _grid(model: keras.Model, name: str) -> tuple[float, int]:
    return model.get_layer(f"{name}_quantizer").quantization()


def _outputs(model: keras.Model, names: list[str], x: np.ndarray) -> list[np.ndarray]:
    """What nodes of the model compute, by the name of their layer (its last call)."""
    tensors = [model.get_layer(name)._inbound_nodes[-1].output_tensors[0] for name in names]
    return [np.asarray(y) for y in keras.Model(model.input, tensors)(x)]


def test_keeps_names_structure_and_the_given_model() -> None:
    model = keras_models.sequential()
    weights, predictions = model.get_weights(), model.predict(_IMAGES, verbose=0)
    qmodel = quantize(model, calibration_data=_IMAGES, input_range=(0, 255))
    names = [layer.name for layer in qmodel.layers]
    assert [name for name in names if name in {layer.name for layer in model.layers}] == [
        layer.name for layer in model.layers
    ]
    assert qmodel.name == model.name
    assert qmodel.input_shape == model.input_shape
    assert qmodel.output_shape == model.output_shape
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(model.predict(_IMAGES, verbose=0), predictions)
    assert len(model.get_layer("conv2")._inbound_nodes) == 1
    # Near the float model before any training.
    assert np.abs(qmodel.predict(_IMAGES, verbose=0) - predictions).max() < 0.1
    _assert_budgets_hold(qmodel)


def test_where_quantizers_are() -> None:
    qmodel = quantize(keras_models.sequential(), weight_bits=6, input_bits=5)
    quantizers = [layer.name for layer in qmodel.layers if isinstance(layer, ActivationQuantizer)]
    assert quantizers == [
        "rescale_quantizer",
        "relu1_quantizer",
        "conv2_quantizer",
        "dense_quantizer",
    ]
    # Softmax was an argument; it has no quantizer, its input has one.
    assert qmodel.layers[-1].name == "dense_softmax"
    assert qmodel.get_layer("dense").activation is keras.activations.linear


def test_every_tensor_is_on_its_grid() -> None:
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 4)).astype(np.float32)
    qmodel = quantize(keras_models.residual(), 14, calibration_data=x)
    names = ["stem", "relu", "norm2", "mean", "features", "logits"]
    tensors = _outputs(qmodel, [f"{name}_quantizer" for name in names], 3 * x)
    for name, values in zip(names, tensors, strict=True):
        scale, zero_point = _grid(qmodel, name)
        stored = values / scale + zero_point
        np.testing.assert_allclose(stored, np.rint(stored), atol=1e-3, err_msg=name)
        assert np.rint(stored).min() >= -128, name
        assert np.rint(stored).max() <= 127, name


def _operand(model: keras.Model, name: str, x: np.ndarray) -> np.ndarray:
    """What a compute layer gets."""
    tensor = model.get_layer(name)._inbound_nodes[-1].input_tensors[0]
    return np.asarray(keras.Model(model.input, tensor)(x))


def test_layers_get_narrow_operands_and_additions_wide_ones() -> None:
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 4)).astype(np.float32)
    qmodel = quantize(keras_models.residual(), 16, input_bits=4, weight_bits=6, calibration_data=x)
    for name in ("stem", "depthwise", "project", "side", "features", "logits"):
        layer = qmodel.get_layer(name)
        source = {"stem": "x", "side": "x", "depthwise": "stem", "project": "relu6"}.get(name)
        source = source or {"features": "relu", "logits": "mean"}[name]
        scale, zero_point = _grid(qmodel, source)
        stored = np.rint(_operand(qmodel, name, 5 * x) / scale) + zero_point
        assert layer.operands.input_range == (-8, 7)
        assert stored.min() >= -8, name
        assert stored.max() == 7, name
    scale, zero_point = _grid(qmodel, "stem")
    added = qmodel.get_layer("sum")._inbound_nodes[0].input_tensors[0]
    wide = np.rint(np.asarray(keras.Model(qmodel.input, added)(5 * x)) / scale) + zero_point
    assert wide.max() > 7


def test_average_pooling_keeps_its_inputs_grid() -> None:
    qmodel = quantize(keras_models.sequential(), calibration_data=_IMAGES, input_range=(0, 255))
    scale, zero_point = _grid(qmodel, "conv2")
    stored = _operand(qmodel, "dense", _IMAGES) / scale + zero_point
    np.testing.assert_allclose(stored, np.rint(stored), atol=1e-3)
    assert stored.max() <= qmodel.get_layer("dense").operands.input_range[1] + 1e-3


def test_input_range_through_rescaling() -> None:
    qmodel = quantize(
        keras_models.sequential(), input_range=(0, 255), overrides={"conv1": {"input_bits": 8}}
    )
    assert _grid(qmodel, "rescale") == (pytest.approx(1 / 255), -128)
    np.testing.assert_allclose(_operand(qmodel, "conv1", _IMAGES) * 255, _IMAGES, atol=1e-3)
    narrow = quantize(
        keras_models.sequential(), input_range=(0, 255), overrides={"conv1": {"input_bits": 4}}
    )
    assert _grid(narrow, "rescale") == (pytest.approx(1 / 15), -8)


def test_input_range_by_name() -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    outputs = L.Add()([L.Dense(3)(a), L.Dense(3)(b)])
    model = keras_models.randomized(keras.Model([a, b], outputs))
    qmodel = quantize(model, input_range={"a": (-1, 1)}, input_bits=8, weight_bits=4)
    assert not qmodel.get_layer("a_quantizer").observe
    assert qmodel.get_layer("b_quantizer").observe


@pytest.mark.parametrize(
    ("acc_bits", "tile"),
    [
        (12, None),
        pytest.param(10, 16, marks=pytest.mark.slow),
        pytest.param(10, None, marks=pytest.mark.slow),
        pytest.param(16, 16, marks=pytest.mark.slow),
    ],
)
def test_budgets_hold_through_wild_training(acc_bits: int, tile: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        qmodel = quantize(
            keras_models.sequential(), acc_bits, tile=tile, input_range=(0, 255), weight_bits=6
        )
    _assert_budgets_hold(qmodel)
    qmodel.compile(keras.optimizers.SGD(3.0), "sparse_categorical_crossentropy", run_eagerly=True)
    before = {name: layer.quantized_kernel()[0] for name, layer in _compute(qmodel).items()}
    for _ in range(3):
        qmodel.fit(_IMAGES, _LABELS, batch_size=16, verbose=0)
        for weights in qmodel.get_weights():
            assert np.isfinite(weights).all()
        _assert_budgets_hold(qmodel)
    after = {name: layer.quantized_kernel()[0] for name, layer in _compute(qmodel).items()}
    assert any((before[name] != after[name]).any() for name in before)


@pytest.mark.slow
def test_training_makes_up_for_a_narrow_accumulator() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(512, 24))).astype(np.float32)
    y = np.argmax(x @ rng.normal(size=(24, 4)), axis=1)
    model = keras.Sequential(
        [keras.Input((24,)), L.Dense(32, activation="relu"), L.Dense(4, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=20, verbose=0)
    qmodel = quantize(model, 10, calibration_data=x)
    qmodel.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    before = qmodel.evaluate(x, y, verbose=0)
    qmodel.fit(x, y, epochs=20, verbose=0)
    assert qmodel.evaluate(x, y, verbose=0) < 0.8 * before
    _assert_budgets_hold(qmodel)


@pytest.mark.parametrize("calibrated", [True, False])
def test_saves_and_loads(calibrated: bool, tmp_path) -> None:
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 4)).astype(np.float32)
    qmodel = quantize(
        keras_models.residual(),
        14,
        method=A2Q(0.01),
        tile=20,
        exclude="stem",
        calibration_data=x if calibrated else None,
    )
    qmodel.compile("adam", "mse", run_eagerly=True)
    targets = {"features": np.zeros((32, 8, 8, 6)), "logits": np.zeros((32, 3))}
    qmodel.fit(x, targets, verbose=0)
    path = tmp_path / "model.keras"
    qmodel.save(path)
    loaded = keras.models.load_model(path)
    expected, outputs = qmodel.predict(x, verbose=0), loaded.predict(x, verbose=0)
    assert outputs.keys() == {"features", "logits"}
    for key in expected:
        np.testing.assert_array_equal(outputs[key], expected[key])
    for name, layer in _compute(qmodel).items():
        assert loaded.get_layer(name).operands == layer.operands
        assert loaded.get_layer(name).method == layer.method
        np.testing.assert_array_equal(
            loaded.get_layer(name).quantized_kernel()[0], layer.quantized_kernel()[0]
        )


@pytest.mark.slow
def test_ranges_never_observed_are_named() -> None:
    qmodel = quantize(keras_models.sequential(), input_range=(0, 255))
    with pytest.raises(ValueError, match="relu1_quantizer: no range was ever observed"):
        qmodel.predict(_IMAGES, verbose=0)
    qmodel.compile("sgd", "sparse_categorical_crossentropy")
    qmodel.fit(_IMAGES, _LABELS, verbose=0, validation_data=(_IMAGES, _LABELS))
    qmodel.predict(_IMAGES, verbose=0)


def test_given_widths_are_kept() -> None:
    qmodel = quantize(keras_models.sequential(), 15, weight_bits=5, input_bits=6, tile=32)
    for layer in _compute(qmodel).values():
        assert layer.operands.acc_bits == 15
        assert (layer.operands.weight_bits, layer.operands.input_bits) == (5, 6)
        assert layer.operands.partition == Partition("runs", 32)
        assert layer.widths_from == "given"


def test_filled_widths_say_where_they_come_from() -> None:
    for data, source in ((None, "assumed"), (_IMAGES, "measured")):
        qmodel = quantize(keras_models.sequential(), weight_bits=5, calibration_data=data)
        assert {layer.widths_from for layer in _compute(qmodel).values()} == {source}
        assert {layer.operands.weight_bits for layer in _compute(qmodel).values()} == {5}


def test_excluded_layers_are_8_bit_and_unconstrained() -> None:
    qmodel = quantize(
        keras_models.sequential(), 10, exclude="first_last", input_bits=4, input_range=(0, 255)
    )
    for name in ("conv1", "dense"):
        operands = qmodel.get_layer(name).operands
        assert (operands.acc_bits, operands.weight_bits, operands.input_bits) == (None, 8, 8)
        integers = qmodel.get_layer(name).quantized_kernel()[0]
        assert np.abs(integers).max() == 127
    assert qmodel.get_layer("conv2").operands.acc_bits == 10
    assert qmodel.get_layer("rescale_quantizer").bits == 8
    # The dense layer reads the whole grid.
    assert qmodel.get_layer("conv2_quantizer").bits == 8


def test_overrides() -> None:
    qmodel = quantize(
        keras_models.sequential(),
        overrides={"conv*": {"acc_bits": 13}, "conv2": {"method": A2Q(0), "tile": 8}},
    )
    assert qmodel.get_layer("conv1").operands.acc_bits == 13
    assert qmodel.get_layer("conv2").operands.tile == 8
    assert qmodel.get_layer("conv2").method == A2Q(0)
    assert qmodel.get_layer("dense").operands.acc_bits == 16


def test_zero_channels_and_zero_gammas() -> None:
    model = keras_models.sequential()
    conv, norm = model.get_layer("conv1"), model.get_layer("norm1")
    kernel = conv.get_weights()[0]
    kernel[..., 3] = 0
    conv.set_weights([kernel])
    gamma, *others = norm.get_weights()
    gamma[:3] = [0, -1, 1e-12]
    norm.set_weights([gamma, *others])
    qmodel = quantize(model, calibration_data=_IMAGES, input_range=(0, 255))
    integers, scale = qmodel.get_layer("conv1").quantized_kernel()
    assert (integers[..., 3] == 0).all()
    assert (scale > 0).all()
    difference = qmodel.predict(_IMAGES, verbose=0) - model.predict(_IMAGES, verbose=0)
    assert np.abs(difference).max() < 0.1
    qmodel.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    qmodel.fit(_IMAGES, _LABELS, verbose=0)
    assert np.isfinite(qmodel.get_layer("conv1").get_weights()[0]).all()


def test_frozen_layers_stay_frozen() -> None:
    model = keras_models.sequential()
    model.get_layer("conv2").trainable = False
    qmodel = quantize(model, calibration_data=_IMAGES)
    assert not qmodel.get_layer("conv2").trainable
    assert qmodel.get_layer("conv1").trainable


def test_mixed_precision_trains_within_the_budget() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras_models.sequential()
    finally:
        keras.config.set_dtype_policy("float32")
    qmodel = quantize(model, 12, calibration_data=_IMAGES, input_range=(0, 255))
    qmodel.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    qmodel.fit(_IMAGES, _LABELS, verbose=0)
    _assert_budgets_hold(qmodel)
    assert qmodel.get_layer("conv2").compute_dtype == "bfloat16"


def test_every_unsupported_layer_is_reported() -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(4, 3, activation="elu", name="first"),
            L.UpSampling2D(interpolation="bilinear", name="up"),
            L.GroupNormalization(groups=2, name="norm"),
        ]
    )
    with pytest.raises(UnsupportedModelError, match="because of 3 of its layers") as caught:
        quantize(model)
    for text in ("first: activation 'elu'", "up: interpolation", "norm: GroupNormalization"):
        assert text in str(caught.value)


def test_models_that_can_not_be_quantized() -> None:
    pool = keras.Sequential([keras.Input((8, 8, 3)), L.MaxPooling2D()], name="pool")
    with pytest.raises(UnsupportedModelError, match="'pool' has no layer to quantize"):
        quantize(pool)
    with pytest.raises(UnsupportedModelError, match="not built"):
        quantize(keras.Sequential([L.Dense(3)]))
    with pytest.raises(TypeError, match="expected a Keras model"):
        quantize("model.keras")
    qmodel = quantize(keras_models.sequential(), calibration_data=_IMAGES)
    with pytest.raises(UnsupportedModelError, match="quantized already"):
        quantize(qmodel)


def test_weights_that_are_not_finite_are_named() -> None:
    for bad in (np.nan, np.inf):
        model = keras_models.sequential()
        kernel, bias = model.get_layer("conv2").get_weights()
        kernel[0, 0, 0, 0] = bad
        model.get_layer("conv2").set_weights([kernel, bias])
        with pytest.raises(ValueError, match="NaN or infinity in conv2: kernel"):
            quantize(model)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"acc_bits": True}, TypeError, "acc_bits.*bool"),
        ({"acc_bits": 1}, ValueError, "acc_bits.*1"),
        ({"acc_bits": 33}, ValueError, "acc_bits.*33"),
        ({"acc_bits": 16.0}, TypeError, "acc_bits"),
        ({"weight_bits": 1}, ValueError, "weight_bits.*1"),
        ({"input_bits": 9}, ValueError, "input_bits.*9"),
        ({"tile": 0}, ValueError, "received 0"),
        ({"method": "none"}, ValueError, "method.*'none'"),
        ({"exclude": "nothing"}, ValueError, "exclude: 'nothing'"),
        ({"overrides": {"conv9": {}}}, ValueError, "'conv9' matches no layer"),
        ({"overrides": {"conv1": {"bit": 3}}}, ValueError, "unknown keys"),
        ({"acc_bits": 8, "input_bits": 8}, BudgetError, "conv1: .*acc_bits >= 9"),
        ({"acc_bits": 2}, BudgetError, "conv1: .*acc_bits >= 3"),
        ({"input_range": 255}, TypeError, "input_range: expected a pair"),
        ({"input_range": (255, 0)}, ValueError, "low < high"),
        ({"input_range": (0, np.inf)}, ValueError, "low < high"),
        ({"input_range": {"picture": (0, 1)}}, ValueError, r"inputs of \['image'\]"),
        ({"calibration_data": []}, ValueError, "at least one batch"),
        ({"calibration_data": _IMAGES[..., :1]}, ValueError, r"'image' expects shape"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, text) -> None:
    with pytest.raises(error, match=text):
        quantize(keras_models.sequential(), **arguments)


def test_readers_of_one_tensor_with_different_widths_are_named() -> None:
    overrides = {"stem": {"input_bits": 4}, "side": {"input_bits": 6}}
    with pytest.raises(ValueError, match=r"tensor 'x' share one width.*'stem': 4"):
        quantize(keras_models.residual(), overrides=overrides)
    overrides["side"]["input_bits"] = 4
    qmodel = quantize(keras_models.residual(), overrides=overrides)
    assert qmodel.get_layer("x_quantizer").bits == 4


def test_an_input_concatenated_with_other_tensors_has_no_range_of_its_own() -> None:
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, L.Concatenate()([inputs, L.Dense(3)(inputs)]))
    with pytest.raises(ValueError, match="shares one scale"):
        quantize(model, input_range=(0, 1))
    quantize(model, calibration_data=np.ones((3, 4)))


def test_names_of_quantizers_do_not_clash() -> None:
    model = keras.Sequential(
        [keras.Input((4,), name="x"), L.Dense(3, name="a"), L.Dense(3, name="a_quantizer")]
    )
    names = [layer.name for layer in quantize(model).layers]
    assert names == [
        "x",
        "x_quantizer",
        "a",
        "a_quantizer_1",
        "a_quantizer",
        "a_quantizer_quantizer",
    ]
