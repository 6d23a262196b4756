"""MultiHeadAttention written out: the same function, and what can not be."""

import keras
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.expand import expand
from keras_accq.graph.supported import problems

L = keras.layers


def _self(x):
    return L.MultiHeadAttention(2, 3, name="a")(x, x)


def _causal(x):
    return L.MultiHeadAttention(3, 4, use_bias=False, name="a")(x, x, use_causal_mask=True)


def _causal_of_one_key(x):
    first = L.Cropping1D((0, 5))(x)
    return L.MultiHeadAttention(1, 4, name="a")(x, first, use_causal_mask=True)


def _cross(x):
    y, z = L.Dense(5)(L.Cropping1D((1, 2))(x)), L.Dense(4)(L.Cropping1D((1, 2))(x))
    attention = L.MultiHeadAttention(2, 3, value_dim=5, output_shape=7, name="a")
    return attention(x, value=y, key=z)


def _with_dropout(x):
    return L.MultiHeadAttention(2, 3, dropout=0.5, name="a")(x, x)


def _called_twice(x):
    attention = L.MultiHeadAttention(2, 3, name="a")
    y = attention(x, x, use_causal_mask=True)
    return attention(y, L.Cropping1D((1, 2))(y))


def _nested(x):
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, _self(inputs), name="inner")(x)


def _model(function, shape=(6, 8)) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, name="x")
    model = keras.Model(inputs, function(inputs))
    random = np.random.default_rng(0)
    # Biases begin as zeros.
    model.set_weights([random.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


@pytest.mark.parametrize(
    "function", [_self, _causal, _causal_of_one_key, _cross, _with_dropout, _called_twice, _nested]
)
def test_the_layers_compute_the_same(function) -> None:
    model = _model(function)
    graph = expand(model)
    assert problems(graph) == []
    assert not any(isinstance(node.layer, L.MultiHeadAttention) for node in graph.nodes)
    x = np.random.default_rng(1).normal(size=(5, 6, 8)).astype(np.float32)
    np.testing.assert_allclose(graph.model(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_layers_have_the_name_of_the_attention() -> None:
    graph = expand(_model(_with_dropout))
    assert {node.name for node in graph.nodes} == {
        *(f"a-{part}" for part in ("query", "key", "value", "output")),
        *(f"a-{part}_split" for part in ("query", "key", "value")),
        *(f"a-{part}_heads" for part in ("query", "key", "value")),
        *(f"a-{part}" for part in ("scores", "weights", "dropout", "mixed", "positions", "joined")),
    }


def test_layers_are_shared_by_the_calls_of_one_attention() -> None:
    graph = expand(_model(_called_twice))
    queries = [node for node in graph.nodes if node.name == "a-query"]
    assert [node.label for node in queries] == ["a-query", "a-query-call2"]
    assert queries[0].layer is queries[1].layer


def test_dropout_stays_in_training() -> None:
    model = expand(_model(_with_dropout)).model
    x = np.ones((1, 6, 8), np.float32)
    assert not np.array_equal(model(x, training=True), model(x, training=True))


def _attention(**settings):
    def function(x):
        return L.MultiHeadAttention(2, 3, name="a", **settings)(x, x)

    return function


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (_attention(use_gate=True), "use_gate=True; expected"),
        (_attention(sliding_window=2), "sliding_window=2; expected None"),
        (_attention(kernel_constraint="max_norm"), "a constraint on kernels or biases"),
        (_attention(output_shape=(2, 3)), r"output_shape=\(2, 3\); expected one number"),
        (
            lambda x: L.MultiHeadAttention(2, 3, name="a")(
                x, x, attention_mask=np.ones((6, 6), bool)
            ),
            "a mask is given; expected none, or use_causal_mask=True",
        ),
        (
            lambda x: L.MultiHeadAttention(2, 3, name="a")(x, x, return_attention_scores=True),
            "return_attention_scores=True",
        ),
        (
            lambda x: L.MultiHeadAttention(2, 3, name="a")(*[L.Reshape((2, 3, 8))(x)] * 2),
            r"\(None, 2, 3, 8\).*expected \[batch, positions, channels\]",
        ),
    ],
)
def test_what_can_not_be_written_out_is_refused(function, reason) -> None:
    inputs = keras.Input((6, 8), name="x")
    model = keras.Model(inputs, function(inputs))
    with pytest.raises(UnsupportedModelError, match=f"a: .*{reason}"):
        expand(model)


def test_sequences_of_unknown_length_are_refused() -> None:
    inputs = keras.Input((None, 8), name="x")
    with pytest.raises(UnsupportedModelError, match=r"a: .*with a fixed number of positions"):
        expand(keras.Model(inputs, _self(inputs)))


def test_lora_is_refused() -> None:
    inputs = keras.Input((6, 8), name="x")
    attention = L.MultiHeadAttention(2, 3, name="a")
    model = keras.Model(inputs, attention(inputs, inputs))
    attention.query_dense.enable_lora(2)
    with pytest.raises(UnsupportedModelError, match="a: has LoRA weights"):
        expand(model)
