import keras
import keras_models
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.nodes import read
from keras_accq.ptq.equalize import equalize, pairs

L = keras.layers


def _names(model: keras.Model) -> list[tuple[str, str | None, str]]:
    return [
        (pair.first.name, pair.norm and pair.norm.name, pair.second.name)
        for pair in pairs(read(model))
    ]


def _unequal(model: keras.Model, seed: int = 3) -> keras.Model:
    """Gives channels sizes that differ by orders of magnitude."""
    rng = np.random.default_rng(seed)
    for layer in keras_models.randomized(model).layers:
        for variable in layer.weights:
            if variable.name in ("kernel", "gamma"):
                shape = variable.shape[-1:]
                variable.assign(variable * np.exp(rng.normal(0, 1.5, shape)).astype(np.float32))
    return model


def _all_layers() -> keras.Model:
    """Depthwise with a multiplier, groups, no bias, BatchNormalization, Flatten into Dense."""
    x = inputs = keras.Input((8, 8, 4))
    x = L.Conv2D(6, 3, padding="same", activation="relu", name="conv")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise")(x)
    x = L.ReLU()(L.BatchNormalization(center=False, name="norm")(x))
    x = L.MaxPooling2D()(L.ZeroPadding2D(1)(x))
    x = L.Conv2D(8, 3, groups=4, use_bias=False, name="grouped")(x)
    x = L.Activation("relu")(x)
    x = L.AveragePooling2D(1)(x)
    x = L.Flatten()(x)
    x = L.Dense(6, activation="relu", name="hidden")(L.Dropout(0.5)(x))
    return keras.Model(inputs, L.Dense(3, activation="softmax", name="last")(x))


def _images(model: keras.Model, count: int = 32) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def test_pairs_of_all_layers() -> None:
    assert _names(_all_layers()) == [
        ("conv", None, "depthwise"),
        ("depthwise", "norm", "grouped"),
        ("grouped", None, "hidden"),
        ("hidden", None, "last"),
    ]


def test_no_pair_over_relu6_skip_connections_or_outputs() -> None:
    # depthwise -> ReLU6 -> project; stem and relu have two readers; features is an output.
    assert _names(keras_models.residual()) == []
    inputs = keras.Input((4,))
    x = L.Dense(4, name="a")(inputs)
    y = L.Dense(4, name="b")(L.Reshape((4,))(x))
    z = L.BatchNormalization(scale=False)(L.Dense(4, name="c")(L.ReLU()(y)))
    z = L.Dense(4, activation="relu6", name="d")(z)
    assert _names(keras.Model(inputs, L.Dense(2, name="e")(z))) == [("b", None, "c")]


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("build", [_all_layers, keras_models.sequential])
def test_the_function_stays_the_same(build, measured: bool) -> None:
    model = _unequal(build())
    x = _images(model)
    before = [np.array(w) for w in model.get_weights()]
    expected = model.predict(x, verbose=0)
    equalized = equalize(model, x if measured else None)
    changed = [bool(np.any(a != b)) for a, b in zip(before, equalized.get_weights(), strict=True)]
    assert sum(changed) >= 4
    np.testing.assert_allclose(equalized.predict(x, verbose=0), expected, rtol=2e-5, atol=2e-6)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    names = [layer.name for layer in model.layers]
    assert [layer.name for layer in equalized.layers][-len(names) :] == names


def _largest(kernel, axes) -> np.ndarray:
    return np.abs(keras.ops.convert_to_numpy(kernel)).max(axis=axes)


def test_equation_11_makes_ranges_equal() -> None:
    equalized = equalize(_unequal(_all_layers()))
    names = ("conv", "depthwise", "grouped", "hidden", "norm")
    conv, depthwise, grouped, hidden, norm = (equalized.get_layer(name) for name in names)
    factors = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    folded = np.asarray(depthwise.kernel) * factors.reshape(6, 2)
    np.testing.assert_allclose(
        _largest(conv.kernel, (0, 1, 2)), _largest(folded, (0, 1, 3)), rtol=5e-3
    )
    # Channel i of 12 goes to group i // 3, as its input i % 3; 2 outputs a group.
    reading = np.asarray(grouped.kernel).reshape(9, 3, 4, 2)
    np.testing.assert_allclose(
        _largest(folded, (0, 1)).reshape(-1),
        np.abs(reading).max(axis=(0, 3)).T.reshape(-1),
        rtol=5e-3,
    )
    reading = np.asarray(hidden.kernel).reshape(-1, 8, 6)
    np.testing.assert_allclose(
        _largest(grouped.kernel, (0, 1, 2)), np.abs(reading).max(axis=(0, 2)), rtol=5e-3
    )


def test_measured_channels_of_a_depthwise_layer_become_equal() -> None:
    model = _unequal(_all_layers())
    x = _images(model)
    equalized = equalize(model, x)
    output = equalized.get_layer("conv").output
    values = np.asarray(keras.Model(equalized.input, output)(x))
    sizes = np.sqrt(np.square(values).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(sizes, 1, rtol=1e-4)


def test_measured_factors_are_those_of_the_formula() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, L.Dense(2, name="b")(L.Dense(3, activation="relu", name="a")(inputs))
    )
    kernel = np.array([[1.0, -2.0], [3.0, 0.5], [0.0, 0.0]])
    model.get_layer("a").set_weights([np.eye(3), np.zeros(3)])
    model.get_layer("b").set_weights([kernel, np.zeros(2)])
    x = np.array([[1.0, 2.0, 3.0], [3.0, 0.0, 3.0]])
    size = np.sqrt([5.0, 2.0, 9.0])
    relative = np.sqrt(np.square(kernel / np.linalg.norm(kernel, axis=0)).mean(axis=1))
    factors = size[:2] ** (2 / 3) / relative[:2] ** (1 / 3)
    made = np.diag(np.asarray(equalize(model, x).get_layer("a").kernel))
    # Nothing reads the third channel.
    np.testing.assert_allclose(made, [*(1 / factors), 1], rtol=1e-5)


@pytest.mark.parametrize("measured", [False, True])
def test_dead_channels_stay(measured: bool) -> None:
    model = _unequal(_all_layers())
    x = _images(model)
    conv = model.get_layer("conv")
    kernel, bias = (np.array(w) for w in conv.get_weights())
    kernel[..., 2], bias[2] = 0, 0
    conv.set_weights([kernel, bias])
    norm = model.get_layer("norm")
    norm.gamma.assign(np.where(np.arange(12) == 5, 0, np.asarray(norm.gamma)))
    equalized = equalize(model, x if measured else None)
    assert all(np.isfinite(w).all() for w in equalized.get_weights())
    np.testing.assert_allclose(
        equalized.predict(x, verbose=0), model.predict(x, verbose=0), rtol=2e-5, atol=2e-6
    )


def test_bad_input() -> None:
    model = _all_layers()
    with pytest.raises(TypeError, match="expected a Keras model"):
        equalize("model")
    with pytest.raises(UnsupportedModelError, match="'elu'"):
        equalize(keras.Sequential([keras.Input((3,)), L.Dense(2, activation="elu", name="d")]))
    with pytest.raises(ValueError, match="at least one batch"):
        equalize(model, [])
    with pytest.raises(ValueError, match="output of 'conv' turns out NaN"):
        equalize(model, np.full((2, 8, 8, 4), np.nan))
    with pytest.raises(ValueError, match=r"expects shape \(None, 8, 8, 4\)"):
        equalize(model, np.zeros((2, 8, 8, 3)))


def test_a_model_without_pairs_is_copied() -> None:
    model = keras_models.residual()
    x = _images(model, 4)
    copy = equalize(model, x)
    assert copy is not model
    for a, b in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
