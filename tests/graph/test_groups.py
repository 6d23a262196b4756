import keras
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.expand import expand
from keras_accq.graph.groups import find, only_narrow
from keras_accq.graph.nodes import read
from keras_accq.quantizers.grids import grid

L = keras.layers


def _groups(function, shape=(8, 8, 3)) -> dict[str, tuple[list[str], list[str]]]:
    """By name: layers whose outputs give the range, and compute layers that read the group."""
    inputs = keras.Input(shape, name="x")
    groups = find(read(keras.Model(inputs, function(inputs))))
    return {
        group.name: ([n.name for n in group.sources], [n.name for n in group.readers])
        for group in groups
    }


def test_only_the_last_tensor_of_a_fused_chain_is_quantized() -> None:
    def function(x):
        x = L.Conv2D(4, 3, padding="same", name="c1")(x)
        x = L.ReLU(name="r1")(L.BatchNormalization(name="b1")(x))
        y = L.BatchNormalization(name="b2")(L.Conv2D(4, 3, padding="same", name="c2")(x))
        return L.Activation("relu", name="r2")(L.Add(name="sum")([x, y]))

    assert _groups(function) == {
        "x": (["x"], ["c1"]),
        "r1": (["r1"], ["c2"]),
        "b2": (["b2"], []),
        "r2": (["r2"], []),
    }


def test_an_inner_tensor_with_another_reader_is_quantized() -> None:
    def function(x):
        y = L.Conv2D(3, 3, padding="same", name="c")(x)
        return L.Add(name="sum")([L.ReLU(name="r")(y), y])

    assert list(_groups(function)) == ["x", "c", "r", "sum"]

    def output(x):
        y = L.Conv2D(3, 3, name="c")(x)
        return y, L.ReLU(name="r")(y)

    assert list(_groups(output)) == ["x", "c", "r"]


def test_activation_arguments_are_fused() -> None:
    def function(x):
        return L.ReLU(max_value=6, name="r")(L.Conv2D(3, 3, activation="relu", name="c")(x))

    assert list(_groups(function)) == ["x", "c", "r"]


def test_layers_that_hand_the_scale_through() -> None:
    def function(x):
        x = L.Conv2D(4, 3, name="c1")(L.ZeroPadding2D()(x))
        x = L.AveragePooling2D(2)(L.Dropout(0.5)(L.MaxPooling2D()(x)))
        return L.Dense(2, name="d")(L.Flatten()(x))

    assert _groups(function) == {"x": (["x"], ["c1"]), "c1": (["c1"], ["d"]), "d": (["d"], [])}


def test_concatenate_has_one_scale() -> None:
    def function(x):
        a = L.Conv2D(4, 1, activation="relu", name="a")(x)
        b = L.Conv2D(4, 1, activation="relu", name="b")(x)
        c = L.Conv2D(4, 1, name="c")(b)
        y = L.Concatenate(name="cat")([L.Concatenate()([a, b]), a])
        return L.Conv2D(2, 1, name="d")(y), c

    groups = _groups(function)
    assert len(groups) == 4
    (shared,) = [group for group in groups.values() if len(group[0]) > 1]
    assert [sorted(names) for names in shared] == [["a", "b"], ["c", "d"]]


def test_rescaling_softmax_and_global_average() -> None:
    def function(x):
        x = L.Conv2D(4, 3, name="c")(L.Rescaling(1 / 255, name="scaled")(x))
        x = L.GlobalAveragePooling2D(name="mean")(x)
        return L.Softmax(name="s")(L.Dense(2, name="d")(x))

    assert _groups(function) == {
        "scaled": (["scaled"], ["c"]),
        "c": (["c"], []),
        "mean": (["mean"], ["d"]),
        "d": (["d"], []),
    }


def test_an_average_of_the_whole_map_has_a_scale_of_its_own() -> None:
    def whole(x):
        return L.Conv2D(2, 1, name="c")(L.AveragePooling2D(8, name="mean")(x))

    def corner(x):
        return L.Conv2D(2, 1, name="c")(L.AveragePooling2D(7, strides=7, name="mean")(x))

    assert _groups(whole) == {"x": (["x"], []), "mean": (["mean"], ["c"]), "c": (["c"], [])}
    assert _groups(corner) == {"x": (["x"], ["c"]), "c": (["c"], [])}


def test_an_average_of_one_position_hands_its_value_through() -> None:
    def function(x):
        x = L.GlobalAveragePooling2D(keepdims=True)(L.AveragePooling2D(1)(x))
        return L.Dense(2, name="d")(L.GlobalAveragePooling1D()(L.Reshape((1, 3))(x)))

    assert list(_groups(function, (1, 1, 3))) == ["x", "d"]


def test_never_negative() -> None:
    inputs = keras.Input((8, 8, 3))
    a = L.Conv2D(4, 1, activation="relu", name="a")(inputs)
    b = L.Conv2D(4, 1, name="b")(inputs)
    c = L.Concatenate()([a, L.ReLU(name="c")(L.Conv2D(4, 1)(inputs))])
    groups = {g.name: g for g in find(read(keras.Model(inputs, [b, c])))}
    assert groups["a"].never_negative()
    assert not groups["b"].never_negative()


def test_only_narrow() -> None:
    inputs = keras.Input((8, 8, 3), name="x")
    a = L.MaxPooling2D(name="pool")(L.Conv2D(4, 1, padding="same", name="a")(inputs))
    b = L.Conv2D(4, 1, name="b")(a)
    c = L.Conv2D(4, 1, name="c")(b)
    total = L.Add(name="sum")([b, c])
    graph = read(keras.Model(inputs, total))
    narrow = only_narrow(graph, {"b", "c"})
    names = {node.name for node in (*graph.inputs, *graph.nodes) if node.output in narrow}
    # b's output is also added, c's only so; the sum is the model's output; a takes 8 bits.
    assert names == {"a", "pool"}


def test_is_data() -> None:
    inputs = keras.Input((8, 8, 3), name="x")
    groups = find(
        read(keras.Model(inputs, L.ReLU(name="r")(L.Conv2D(4, 1)(L.Rescaling(2.0)(inputs)))))
    )
    assert [group.is_data() for group in groups] == [True, False]


def test_products_and_functions_have_scales_of_their_own() -> None:
    def function(x):
        x = L.LeakyReLU(name="leaky")(L.Conv2D(4, 1, name="c")(x))
        y = L.Activation("hard_sigmoid", name="gate")(L.Conv2D(4, 1, name="g")(x))
        x = L.ReLU(name="r")(L.Multiply(name="product")([x, y]))
        return L.Activation("sigmoid", name="s")(L.UpSampling2D(name="up")(x))

    # The convolution before the hard sigmoid computes it; the product ends in the ReLU.
    assert _groups(function) == {
        "x": (["x"], ["c"]),
        "c": (["c"], []),
        "leaky": (["leaky"], ["g"]),
        "gate": (["gate"], []),
        "r": (["r"], []),
        "s": (["s"], []),
    }


def test_fixed_ranges() -> None:
    inputs = keras.Input((4,))
    x = L.Dense(4, name="d")(inputs)
    parts = [L.Activation(name, name=name)(x) for name in ("sigmoid", "tanh", "hard_sigmoid")]
    groups = {g.name: g.fixed_range for g in find(read(keras.Model(inputs, parts)))}
    assert groups["d"] is None
    # LiteRT's scales and zero points.
    for name, expected in (("sigmoid", (1 / 256, -128)), ("tanh", (1 / 128, 0))):
        scale, zero_point = grid(*groups[name], 8)
        assert (float(np.float32(scale)), int(zero_point)) == expected
        assert grid(*groups[name], 8, power_of_two=True) == expected
    assert groups["hard_sigmoid"] == (0, 1)


def test_a_fixed_scale_can_not_be_shared_with_another() -> None:
    def function(x):
        a = L.Activation("sigmoid", name="s")(x)
        return L.Concatenate()([a, L.Conv2D(2, 1, name="c")(x)])

    with pytest.raises(UnsupportedModelError, match="s: has a fixed scale, and shares it with"):
        _groups(function)

    def alike(x):
        a, b = (L.Activation("sigmoid", name=name)(x) for name in "ab")
        return L.Concatenate()([a, b])

    assert _groups(alike)["a"] == (["a", "b"], [])


def test_all_tensors_that_one_layer_reads_share_a_scale() -> None:
    def function(x):
        shared = L.Conv2D(3, 3, padding="same", name="shared")
        y = L.ReLU(name="r")(shared(x))
        return L.Add(name="sum")([shared(y), L.Conv2D(3, 1, name="other")(y)])

    assert _groups(function) == {
        "x": (["x", "r"], ["shared", "other"]),
        "shared-call2": (["shared"], []),
        "other": (["other"], []),
        "sum": (["sum"], []),
    }


def test_the_second_operand_of_a_product_is_symmetric() -> None:
    inputs = keras.Input((6, 8), name="x")
    model = keras.Model(inputs, L.MultiHeadAttention(2, 3, name="a")(inputs, inputs))
    groups = {group.name: group for group in find(expand(model))}
    assert {name for name, group in groups.items() if group.symmetric} == {"a-key", "a-value"}
    assert groups["a-weights"].fixed_range == (0.0, 255 / 256)
    assert {node.name for node in groups["x"].readers} == {"a-query", "a-key", "a-value"}
    assert [node.name for node in groups["a-mixed"].readers] == ["a-output"]
