import dataclasses

import keras
import keras_models
import numpy as np
import pytest

import keras_accq as accq
from keras_accq.graph.absorb import absorb_batch_norms
from keras_accq.graph.groups import find
from keras_accq.graph.nodes import read
from keras_accq.search.trial import Trial


def _x(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, *model.input_shape[1:])).astype(np.float32)


def _outputs(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    return [np.array(y) for y in keras.tree.flatten(model(x, training=False))]


@pytest.mark.slow
@pytest.mark.parametrize("build", [keras_models.sequential, keras_models.residual])
@pytest.mark.parametrize(
    "arguments",
    [
        {"acc_bits": 14, "scheme": "fixed_point"},
        {"acc_bits": 12, "input_bits": 5},
        {"acc_bits": 32, "weight_bits": 8, "input_bits": 8},
        {"acc_bits": 12, "exclude": "first_last", "tile": 5},
    ],
)
def test_computes_what_the_quantized_model_computes(build, arguments) -> None:
    model = build()
    x = _x(model)
    qmodel = accq.quantize(model, method="round", calibration_data=x, **arguments)
    recipe = accq.recipe_of(qmodel)
    graph = read(model)
    if recipe.scheme == "fixed_point":
        graph = absorb_batch_norms(graph)
    excluded = {layer.name for layer in recipe.layers if layer.excluded}
    trial = Trial(graph, find(graph), excluded)
    floats = _outputs(graph.model, x)
    for first, second in zip(_outputs(trial.model, x), floats, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    expected = _outputs(qmodel, x)
    # Twice, with something else in between: what is applied leaves no traces.
    for _ in range(2):
        trial.apply(recipe)
        for first, second in zip(_outputs(trial.model, x), expected, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
        trial.apply(dataclasses.replace(recipe, layers=(), tensors=()))
        for first, second in zip(_outputs(trial.model, x), floats, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_recipes_of_the_first_layers_leave_the_others_float() -> None:
    model = keras_models.residual()
    x = _x(model)
    recipe = accq.recipe_of(accq.quantize(model, 12, method="round", calibration_data=x))
    graph = read(model)
    groups = find(graph)
    trial = Trial(graph, groups, set())
    readers = {node.name for node in groups[0].readers}
    assert readers == {"stem", "side"}
    trial.apply(
        dataclasses.replace(
            recipe,
            layers=tuple(layer for layer in recipe.layers if layer.name in readers),
            tensors=recipe.tensors[:1],
        )
    )
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            same = np.array_equal(layer.kernel, trial.model.get_layer(layer.name).kernel)
            assert same == (layer.name not in readers)
