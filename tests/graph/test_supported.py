import keras
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.nodes import read
from keras_accq.graph.supported import check_fixed_point, problems

L = keras.layers


def _problems(function, shape=(8, 8, 3)) -> dict[str, str]:
    inputs = keras.Input(shape, name="x")
    return dict(problems(read(keras.Model(inputs, function(inputs)))))


def _after_conv(*layers):
    def function(x):
        x = L.Conv2D(4, 3, name="conv")(x)
        for layer in layers:
            x = layer(x)
        return x

    return function


def _whole(x):
    x = L.Rescaling(1 / 255)(x)
    x = L.ZeroPadding2D()(x)
    x = L.Conv2D(4, 3, groups=1, use_bias=False)(x)
    x = L.BatchNormalization()(x)
    x = L.ReLU(max_value=6)(x)
    y = L.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    y = L.BatchNormalization()(L.Conv2D(4, 1)(y))
    x = L.Activation("relu")(L.Add()([x, y]))
    x = L.Concatenate()([x, L.MaxPooling2D(3, 1, padding="same")(y)])
    x = L.PReLU()(L.LeakyReLU()(L.UpSampling2D()(x)))
    x = L.Permute((1, 2, 3))(L.Cropping2D(1)(x))
    y = L.Activation("hard_sigmoid")(L.Conv2D(8, 1)(x))
    x = L.Subtract()([L.Multiply()([x, y]), x])
    x = L.Dense(5)(x)
    x = L.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=False)(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.Conv2DTranspose(4, 2, strides=3, output_padding=0, activation="relu")(x)
    x = L.Dropout(0.1)(L.AveragePooling2D(2)(x))
    x = L.Concatenate()([L.GlobalAveragePooling2D()(x), L.GlobalMaxPooling2D()(x), L.Flatten()(x)])
    z = L.MaxPooling1D()(L.Conv1D(4, 3)(L.ZeroPadding1D(4)(L.Reshape((-1, 1))(x))))
    z = L.AveragePooling1D(1)(L.Cropping1D()(L.UpSampling1D()(z)))
    z = L.Concatenate()([L.GlobalAveragePooling1D()(z), L.GlobalMaxPooling1D()(z)])
    z = L.Reshape((-1,))(L.LayerNormalization()(L.Reshape((2, -1))(z)))
    z = L.Activation("sigmoid")(L.Activation("tanh")(L.Activation("gelu")(z)))
    return L.Reshape((5,))(L.Dense(5)(x)), L.Dense(3, activation="softmax")(x), z


def test_every_supported_layer() -> None:
    assert _problems(_whole) == {}


@pytest.mark.parametrize(
    ("function", "name", "reason"),
    [
        (
            _after_conv(L.UpSampling2D(interpolation="bilinear", name="l")),
            "l",
            "'bilinear'; expected 'nearest', or a Conv2DTranspose",
        ),
        (_after_conv(L.UnitNormalization(name="l")), "l", "UnitNormalization is not supported"),
        (
            lambda x: L.Conv1D(2, 3, padding="causal", name="l")(L.Reshape((64, 3))(x)),
            "l",
            "'causal'; expected 'valid' behind ZeroPadding1D",
        ),
        (_after_conv(L.ELU(name="l")), "l", "ELU is not supported"),
        (
            _after_conv(L.Conv2DTranspose(3, 3, dilation_rate=2, name="l")),
            "l",
            r"dilation_rate \(2, 2\); expected 1",
        ),
        (
            _after_conv(L.Conv2DTranspose(3, 3, 2, "same", output_padding=1, name="l")),
            "l",
            r"output_padding \(1, 1\) with padding 'same'; expected None",
        ),
        (
            _after_conv(L.Conv2DTranspose(3, (1, 3), 2, "same", name="l")),
            "l",
            r"kernel_size \(1, 3\) with strides \(2, 2\)",
        ),
        (
            _after_conv(L.Conv2DTranspose(3, 3, activation="tanh", name="l")),
            "l",
            "'tanh'; expected linear",
        ),
        (_after_conv(L.ReLU(max_value=1, name="l")), "l", "max_value=1"),
        (
            _after_conv(L.ReLU(negative_slope=0.1, threshold=1, name="l")),
            "l",
            "negative_slope=0.1",
        ),
        (_after_conv(L.ReLU(threshold=1, name="l")), "l", "threshold=1"),
        (_after_conv(L.Activation("elu", name="l")), "l", "'elu'; expected linear"),
        (_after_conv(L.Conv2D(3, 3, activation="tanh", name="l")), "l", "'tanh'; expected linear"),
        (_after_conv(L.Softmax(axis=1, name="l")), "l", "axis 1"),
        (_after_conv(L.Softmax(name="l"), L.Flatten()), "l", "output of the model"),
        (
            _after_conv(L.Conv2D(3, 3, activation="softmax", name="l"), L.Flatten()),
            "l",
            "output of the model",
        ),
        (_after_conv(L.BatchNormalization(axis=1, name="l")), "l", "axis 1"),
        (
            _after_conv(L.LayerNormalization(axis=1, name="l")),
            "l",
            r"axis \[1\]; expected the last",
        ),
        (_after_conv(L.LayerNormalization(axis=[2, 3], name="l")), "l", r"axis \[2, 3\]"),
        (
            _after_conv(L.Conv2D(1, 1), L.LayerNormalization(name="l")),
            "l",
            "normalizes a single channel",
        ),
        (
            _after_conv(L.LayerNormalization(rms_scaling=True, name="l")),
            "l",
            "rms_scaling=True; expected False",
        ),
        (
            _after_conv(L.RMSNormalization(name="l")),
            "l",
            "RMSNormalization is not supported; expected LayerNormalization",
        ),
        (
            lambda x: L.Embedding(9, 4, name="l")(L.Flatten()(x)),
            "l",
            "Embedding is not supported; expected a model that starts behind it",
        ),
        (
            lambda x: L.Attention(name="l")([L.Reshape((64, 3))(x)] * 2),
            "l",
            "Attention is not supported; expected MultiHeadAttention",
        ),
        (_after_conv(L.Rescaling(2.0, name="l")), "l", "one of the model's inputs"),
        (lambda x: L.Conv2D(3, 3)(L.Rescaling([1, 2, 3], name="l")(x)), "l", "expected numbers"),
        (lambda x: L.Conv2D(3, 3)(L.Rescaling(-1.0, name="l")(x)), "l", "scale -1.0"),
        (lambda x: L.Add(name="l")([x, x, x]), "l", "Add of 3"),
        (lambda x: L.Multiply(name="l")([x, x, x]), "l", "Multiply of 3"),
        (lambda x: L.Conv2D(3, 3)(x) + 1.0, None, "is an operation; use a layer"),
    ],
)
def test_what_is_not_supported_is_named_with_the_reason(function, name, reason) -> None:
    found = _problems(function)
    if name is None:
        (name,) = found
    assert list(found) == [name]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found[name])


def test_channels_first() -> None:
    found = _problems(_after_conv(L.MaxPooling2D(data_format="channels_first", name="l")))
    assert "channels_first" in found["l"]


def test_subclasses_are_not_taken_for_their_base() -> None:
    class Own(L.Conv2D):
        pass

    found = _problems(lambda x: Own(3, 3, name="l")(x))
    assert found == {"l": "Own is not supported (a subclass of Conv2D)"}


def test_fixed_point_wants_powers_of_two() -> None:
    inputs = keras.Input((8,))
    x = L.Activation("hard_sigmoid", name="gate")(L.Dense(3)(inputs))
    graph = read(keras.Model(inputs, L.LeakyReLU(name="leaky")(x)))
    with pytest.raises(UnsupportedModelError, match="no power of two") as caught:
        check_fixed_point(graph)
    assert "gate" in str(caught.value)
    assert "leaky" in str(caught.value)


def test_all_problems_are_found_at_once() -> None:
    found = _problems(
        _after_conv(L.UnitNormalization(name="a"), L.ELU(name="b"), L.Conv2D(3, 3), L.ELU(name="c"))
    )
    assert list(found) == ["a", "b", "c"]


def test_layers_quantized_by_keras() -> None:
    def function(x):
        dense = L.Dense(3, name="l")
        y = dense(x)
        dense.quantize("int8")
        return y

    assert "quantized by Keras (int8)" in _problems(function, (8,))["l"]
