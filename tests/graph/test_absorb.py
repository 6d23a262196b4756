import keras
import keras_models
import numpy as np
import pytest

from keras_accq.graph.absorb import absorb_batch_norms
from keras_accq.graph.nodes import read

L = keras.layers


@pytest.mark.parametrize("build", [keras_models.sequential, keras_models.residual])
def test_computes_the_same_without_batch_norm(build) -> None:
    model = build()
    graph = absorb_batch_norms(read(model))
    kinds = {type(node.layer) for node in graph.nodes}
    assert L.BatchNormalization not in kinds
    kept = [n.name for n in read(model).nodes if not isinstance(n.layer, L.BatchNormalization)]
    assert [node.name for node in graph.nodes] == kept
    x = np.random.default_rng(3).normal(size=(5, *model.input_shape[1:])).astype(np.float32)
    for old, new in zip(
        keras.tree.flatten(model(x)), keras.tree.flatten(graph.model(x)), strict=True
    ):
        np.testing.assert_allclose(np.array(old), np.array(new), rtol=2e-4, atol=2e-5)


def test_negative_and_missing_factors_and_a_norm_at_the_output() -> None:
    inputs = keras.Input((6, 6, 2))
    x = L.Conv2DTranspose(3, 3, use_bias=False, name="up")(inputs)
    x = L.BatchNormalization(scale=False, name="n1")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(x)
    outputs = L.BatchNormalization(center=False, name="n2")(x)
    model = keras_models.randomized(keras.Model(inputs, outputs))
    norm = model.get_layer("n2")
    norm.gamma.assign([-1.0, 0.0, 2.0, 1.0, -0.5, 3.0])
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)
    absorbed = absorb_batch_norms(read(model)).model
    np.testing.assert_allclose(absorbed(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_model_without_batch_norm_is_left_alone() -> None:
    graph = read(keras.Sequential([keras.Input((4,)), L.Dense(2)]))
    assert absorb_batch_norms(graph) is graph
