"""The float model written out: the same function, in layers that can be quantized."""

import keras
import keras_models
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.expand import expand
from keras_accq.graph.nodes import read
from keras_accq.graph.supported import problems

L = keras.layers


def _model(function, shape=(6, 8, 3)) -> keras.Model:
    inputs = keras.Input(shape, name="x")
    return keras_models.randomized(keras.Model(inputs, function(inputs), name="m"))


def _expanded(function, shape=(6, 8, 3)) -> dict[str, str]:
    """Class names by the names of the layers, of an expanded model that computes the same."""
    model = _model(function, shape)
    before = [np.array(value) for value in model.get_weights()]
    graph = expand(model)
    assert problems(graph) == []
    assert graph.model.name == "m"
    x = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32) * 3
    wanted, found = (keras.tree.flatten(m(x)) for m in (model, graph.model))
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    return {node.label: type(node.layer).__name__ for node in graph.nodes}


def test_a_model_with_nothing_to_expand_stays_itself() -> None:
    model = keras_models.sequential()
    assert expand(model).model is model


def test_a_lone_batch_normalization_gets_a_depthwise_convolution() -> None:
    def function(x):
        x = L.Conv2D(4, 3, activation="relu", name="c")(x)
        return L.ReLU(name="r")(L.BatchNormalization(name="n")(x))

    assert _expanded(function) == {
        "c": "Conv2D",
        "n-scale": "DepthwiseConv2D",
        "n": "BatchNormalization",
        "r": "ReLU",
    }


def test_a_batch_normalization_of_a_tensor_that_others_read_is_lone() -> None:
    def function(x):
        y = L.Conv2D(3, 3, name="c")(x)
        return L.Add(name="a")([y, L.BatchNormalization(name="n")(y)])

    def output(x):
        y = L.Conv2D(3, 3, name="c")(x)
        return y, L.BatchNormalization(name="n")(y)

    assert _expanded(function)["n-scale"] == "DepthwiseConv2D"
    assert _expanded(output)["n-scale"] == "DepthwiseConv2D"


@pytest.mark.parametrize("shape", [(7,), (5, 7)])
def test_without_an_image_it_is_called_one(shape) -> None:
    found = _expanded(lambda x: L.Dense(3)(L.BatchNormalization(name="n")(x)), shape)
    assert list(found)[:4] == ["n-scale-image", "n-scale", "n", "n-scale-shape"]


def test_hard_sigmoid_where_nothing_can_take_it() -> None:
    def function(x):
        y = L.Conv2D(3, 1, name="c")(x)
        y = L.Activation("hard_sigmoid", name="fused")(y)
        return L.Activation("hard_sigmoid", name="lone")(L.MaxPooling2D(name="p")(y))

    assert list(_expanded(function)) == ["c", "fused", "p", "lone-scale", "lone"]


def test_separable_convolution_is_two_layers() -> None:
    def function(x):
        return L.SeparableConv2D(
            4, 3, strides=2, padding="same", depth_multiplier=2, activation="silu", name="s"
        )(x)

    assert _expanded(function) == {
        "s-depthwise": "DepthwiseConv2D",
        "s-pointwise": "Conv2D",
        "s-silu-sigmoid": "Activation",
        "s-silu": "Multiply",
    }


def test_activations_of_compute_layers_are_layers() -> None:
    def function(x):
        x = L.Conv2D(4, 3, activation="hard_swish", name="a")(x)
        x = L.Conv2D(4, 3, activation="leaky_relu", name="b")(x)
        x = L.ReLU(negative_slope=0.3, name="r")(x)
        return L.Dense(2, activation="sigmoid", name="c")(L.Activation("swish", name="s")(x))

    assert list(_expanded(function)) == [
        "a", "a-hard_silu-hard_sigmoid-scale", "a-hard_silu-hard_sigmoid", "a-hard_silu", "b",
        "b-leaky_relu", "r", "s-sigmoid", "s", "c", "c-sigmoid",
    ]  # fmt: skip


def test_operations_are_layers() -> None:
    def function(x):
        y = L.Conv2D(3, 1, name="c")(x)
        z = L.ReLU(6.0)(y + 3.0) * (1.0 / 6.0)  # as MobileNetV3 writes hard_sigmoid
        return (y * z - y) + z

    names = _expanded(function)
    assert sorted(names.values()) == sorted(
        ["Conv2D", "DepthwiseConv2D", "Activation", "Multiply", "Subtract", "Add"]
    )


def test_a_row_of_factors_behind_the_input_is_one_rescaling() -> None:
    def function(x):
        x = L.Rescaling(1 / 127.5, offset=-1)(x / 2.0)
        x = L.Normalization(mean=0.5, variance=4.0, axis=None, name="n")(x)
        return L.Conv2D(2, 1, name="c")(x)

    assert _expanded(function) == {"n": "Rescaling", "c": "Conv2D"}
    (rescaling,) = (n.layer for n in expand(_model(function)).nodes if n.name == "n")
    assert (rescaling.scale, rescaling.offset) == pytest.approx((1 / 510, -0.75))


def test_factors_that_differ_by_channel_are_a_depthwise_convolution() -> None:
    def function(x):
        x = L.Normalization(mean=[1.0, 2, 3], variance=[4.0, 5, 6], name="n")(x)
        y = L.Rescaling([1, -2, 3], offset=[0.5, 0, 1], name="m")(L.Conv2D(3, 1, name="c")(x))
        return L.Normalization(mean=1.0, variance=4.0, axis=None, invert=True, name="i")(
            L.ReLU(name="r")(y)
        )

    assert _expanded(function) == {
        "n": "DepthwiseConv2D",
        "c": "Conv2D",
        "m": "DepthwiseConv2D",
        "r": "ReLU",
        "i": "DepthwiseConv2D",
    }


def test_nested_models_become_their_layers() -> None:
    def function(x):
        block = keras.Sequential(
            [keras.Input((6, 8, 3)), L.Conv2D(3, 3, padding="same", name="c"), L.ReLU(name="r")],
            name="inner",
        )
        inputs = keras.Input((6, 8, 3))
        outer = keras.Model(inputs, [block(inputs), inputs], name="outer")
        return L.Add(name="a")(outer(x))

    names = _expanded(function)
    assert list(names) == ["outer-inner-c", "outer-inner-r", "a"]


def test_a_nested_model_called_twice_keeps_one_set_of_weights() -> None:
    inner = keras.Sequential(
        [keras.Input((4,)), L.Dense(4, name="d"), L.BatchNormalization(name="n"), L.ReLU(name="r")],
        name="i",
    )
    labels = list(_expanded(lambda x: inner(inner(x)), (4,)))
    assert labels == ["i-d", "i-n", "i-r", "i-d-call2", "i-n-call2", "i-r-call2"]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inner(inputs)))
    graph = expand(model)
    assert len(graph.model.weights) == len(model.weights)


def test_structures_of_inputs_and_outputs_stay() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    inner = keras.Model({"p": a, "q": b}, {"s": L.Add(name="add")([a, b]), "a": a}, name="i")
    x, y = keras.Input((3,), name="x"), keras.Input((3,), name="y")
    made = inner({"p": x, "q": y})
    model = keras.Model(
        {"x": x, "y": y}, {"one": L.Dense(2, name="d")(made["s"]), "two": made["a"]}
    )
    found = expand(model).model
    rng = np.random.default_rng(0)
    data = {name: rng.normal(size=(2, 3)).astype(np.float32) for name in "xy"}
    wanted, got = model(data), found(data)
    assert set(wanted) == set(got)
    for name in wanted:
        np.testing.assert_array_equal(wanted[name], got[name])


def test_what_can_not_be_expanded_is_named_in_full() -> None:
    def function(x):
        inner = keras.Sequential([keras.Input((4, 6, 4)), L.ELU(name="e")], name="inner")
        y = L.BatchNormalization(name="n")(L.ReLU()(L.Conv2D(4, 3)(x)))
        return L.Lambda(lambda t: t, name="l")(inner(y))

    with pytest.raises(UnsupportedModelError, match=r"2 of its layers") as caught:
        expand(_model(function))
    for text in ("inner-e: ELU is not supported", "l: Lambda is not supported"):
        assert text in str(caught.value)


def test_a_subclass_inside_is_refused() -> None:
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((4,))
    with pytest.raises(UnsupportedModelError, match="subclass Own"):
        expand(keras.Model(inputs, L.Dense(2)(Own()(inputs))))


def test_separable_convolutions_with_channels_first() -> None:
    inputs = keras.Input((3, 8, 8))
    layer = L.SeparableConv2D(4, 3, data_format="channels_first", name="s")
    graph = read(keras.Model(inputs, layer(inputs)))
    assert dict(problems(graph)) == {"s": "SeparableConv2D is not supported"}
