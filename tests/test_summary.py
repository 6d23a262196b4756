import numpy as np
import pytest

import keras_accq as accq


@pytest.fixture(scope="module")
def qmodel():
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, name="first"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="last"),
        ]
    )
    return accq.quantize(model, 14, tile=16, exclude=["last"], overrides={"first": {"tile": None}})


def test_figures_come_from_the_integer_weights(qmodel) -> None:
    summary = accq.summary(qmodel)
    assert [layer.name for layer in summary.layers] == ["first", "depthwise", "last"]
    first, depthwise, last = summary.layers
    q = qmodel.get_layer("first").quantized_kernel()[0].reshape(27, 8).astype(int)
    assert (first.k, first.channels) == (27, 8)
    assert first.largest_norm == np.abs(q).sum(axis=0).max()
    assert first.budget == (2**13 - 1) // 2 ** (first.input_bits - 1)
    assert first.largest_norm <= first.budget
    assert first.zeros == np.mean(q == 0)
    assert 0 <= first.headroom < 1
    assert str(first.partition) == "monolithic"
    assert (depthwise.k, depthwise.channels) == (9, 16)
    assert str(depthwise.partition) == "tile=16"
    assert last.excluded
    assert last.budget is None
    assert last.headroom is None
    assert (last.input_bits, last.weight_bits) == (8, 8)


def test_table_names_layers_and_marks_assumed_widths(qmodel) -> None:
    text = str(accq.summary(qmodel))
    lines = text.splitlines()
    assert lines[0].split()[:5] == ["layer", "K", "N", "M", "P"]
    assert "monolithic" in lines[1]
    assert "*" in lines[1]
    assert "tile=16" in lines[2]
    assert "excluded" in lines[3]
    assert "*" not in lines[3]
    assert lines[-1].startswith("* N and M chosen for an assumed distribution")


def test_measured_widths_carry_no_mark() -> None:
    import keras

    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    data = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
    summary = accq.summary(accq.quantize(model, calibration_data=data))
    assert summary.layers[0].widths_from == "measured"
    assert "*" not in str(summary)


def test_refuses_a_float_model() -> None:
    import keras

    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)], name="plain")
    with pytest.raises(accq.UnsupportedModelError, match=r"accq\.quantize.*plain"):
        accq.summary(model)
    with pytest.raises(accq.UnsupportedModelError, match="NoneType"):
        accq.summary(None)


def test_what_has_no_bound_is_named() -> None:
    import keras

    x = inputs = keras.Input((6, 8))
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.MultiHeadAttention(2, 3, name="a")(x, x, use_causal_mask=True)
    summary = accq.summary(accq.quantize(keras.Model(inputs, x)))
    names = [layer.name for layer in summary.layers]
    assert sorted(names) == ["a-key", "a-output", "a-query", "a-value"]
    assert summary.products == ("a-scores", "a-mixed")
    assert summary.in_float == ("norm", "a-causal_weights")
    assert str(summary).splitlines()[-2:] == [
        "not bounded, products of two activations in 32 bits: a-scores, a-mixed",
        "in float32: norm, a-causal_weights",
    ]
