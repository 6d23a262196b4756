import keras
import keras_models
import numpy as np
import pytest

from keras_accq.graph.copied import copied
from keras_accq.graph.nodes import read


@pytest.mark.parametrize("build", [keras_models.sequential, keras_models.residual])
def test_names_weights_and_function(build) -> None:
    model = build()
    copy = copied(read(model))
    assert copy.name == model.name
    assert [tensor.name for tensor in copy.inputs] == [tensor.name for tensor in model.inputs]
    names = {layer.name for layer in model.layers}
    assert names <= {layer.name for layer in copy.layers}
    for layer in model.layers:
        for a, b in zip(layer.get_weights(), copy.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    expected, outputs = (keras.tree.flatten(m(x)) for m in (model, copy))
    for a, b in zip(expected, outputs, strict=True):
        np.testing.assert_array_equal(a, b)
    keras.tree.assert_same_structure(model(x), copy(x))


def test_the_copy_shares_nothing() -> None:
    model = keras_models.sequential()
    before = np.array(model.get_layer("conv1").kernel)
    copy = copied(read(model))
    copy.get_layer("conv1").kernel.assign(np.zeros_like(before))
    np.testing.assert_array_equal(np.array(model.get_layer("conv1").kernel), before)
