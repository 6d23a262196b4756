import dataclasses

import keras
import keras_models
import numpy as np
import pytest

import keras_accq as accq
from keras_accq.errors import BudgetError, UnsupportedModelError
from keras_accq.layers import ActivationQuantizer, QuantizedWeights
from keras_accq.recipe import Recipe


def _same(a: keras.Model, b: keras.Model) -> None:
    """The same integers, scales and grids in every layer."""
    for first, second in zip(a.layers, b.layers, strict=True):
        assert type(first) is type(second)
        if isinstance(first, QuantizedWeights):
            assert first.operands == second.operands
            assert first.method == second.method
            for x, y in zip(first.quantized_kernel(), second.quantized_kernel(), strict=True):
                np.testing.assert_array_equal(x, y)
        elif isinstance(first, ActivationQuantizer):
            assert (first.bits, first.power_of_two) == (second.bits, second.power_of_two)
            assert first.learn == second.learn
            assert first.has_range() == second.has_range()
            if first.has_range():
                assert first.quantization() == second.quantization()


def _x(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(48, *model.input_shape[1:])).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "arguments"),
    [
        (keras_models.sequential, {}),
        (keras_models.sequential, {"acc_bits": 12, "scheme": "fixed_point", "method": "round"}),
        (keras_models.sequential, {"method": "a2q+", "regularization": 0.5, "tile": 7}),
        (
            keras_models.residual,
            {"acc_bits": 13, "exclude": "first_last", "overrides": {"side": {"acc_bits": 20}}},
        ),
        pytest.param(
            keras_models.residual,
            {"acc_bits": 10, "scheme": "fixed_point", "exclude": ["features"]},
            marks=pytest.mark.slow,
        ),
        (keras_models.residual, {"method": "round", "weight_bits": 4}),
    ],
)
def test_a_recipe_makes_the_same_integers(build, arguments) -> None:
    model = build()
    qmodel = accq.quantize(model, calibration_data=_x(model), **arguments)
    recipe = Recipe.from_json(accq.recipe_of(qmodel).to_json())
    again = accq.quantize(model, recipe=recipe)
    _same(qmodel, again)
    assert accq.recipe_of(again) == recipe


def test_post_training_needs_its_data_again() -> None:
    model = keras_models.sequential()
    x = keras_models.images()
    qmodel = accq.quantize(model, 14, method="axe", tile=9, calibration_data=x)
    recipe = accq.recipe_of(qmodel)
    with pytest.raises(ValueError, match="calibration_data"):
        accq.quantize(model, recipe=recipe)
    again = accq.quantize(model, recipe=recipe, calibration_data=x)
    for layer in again.layers:
        if isinstance(layer, QuantizedWeights):
            assert layer.method.name == "axe"
            assert layer.operands == qmodel.get_layer(layer.name).operands


def test_ranges_to_be_observed_stay_so() -> None:
    model = keras_models.sequential()
    qmodel = accq.quantize(model, 14, input_bits=5, input_range=(0, 255))
    recipe = accq.recipe_of(qmodel)
    assert [tensor.range is None for tensor in recipe.tensors].count(True) > 0
    _same(qmodel, accq.quantize(model, recipe=recipe))


@pytest.mark.slow
def test_a_trained_model_keeps_what_it_learned_about_widths_scales_and_ranges() -> None:
    model = keras_models.sequential()
    qmodel = accq.quantize(model, 14)
    qmodel.compile("adam", "sparse_categorical_crossentropy")
    qmodel.fit(keras_models.images(), np.arange(64) % 5, verbose=0)
    again = accq.quantize(model, recipe=accq.recipe_of(qmodel))
    for layer in again.layers:
        old = qmodel.get_layer(layer.name)
        if isinstance(layer, QuantizedWeights):
            np.testing.assert_array_equal(layer.quantized_kernel()[1], old.quantized_kernel()[1])
        elif isinstance(layer, ActivationQuantizer):
            assert layer.quantization() == old.quantization()
            assert not layer.observe


def _recipe(**arguments) -> Recipe:
    model = keras_models.sequential()
    return accq.recipe_of(accq.quantize(model, 14, calibration_data=_x(model), **arguments))


def test_a_recipe_for_another_model_names_what_differs() -> None:
    recipe = _recipe()
    layers = tuple(
        dataclasses.replace(layer, kernel_shape=(5, 5, 8, 12)) if layer.name == "conv2" else layer
        for layer in recipe.layers
        if layer.name != "dense"
    )
    renamed = dataclasses.replace(recipe.layers[0], name="conv9")
    other = dataclasses.replace(recipe, model="other", layers=(*layers[1:], renamed))
    with pytest.raises(ValueError, match="another model") as caught:
        accq.quantize(keras_models.sequential(), recipe=other)
    text = str(caught.value)
    assert "layers only in the recipe: conv9" in text
    assert "layers only in the model: conv1, dense" in text
    assert "conv2: kernel (5, 5, 8, 12) in the recipe, (3, 3, 8, 12) in the model" in text
    assert "accq.search" in text
    with pytest.raises(ValueError, match="tensors only in the model: rescale"):
        accq.quantize(
            keras_models.sequential(),
            recipe=dataclasses.replace(recipe, tensors=recipe.tensors[1:]),
        )


def _with(recipe: Recipe, name: str, **changes) -> Recipe:
    layers = tuple(
        dataclasses.replace(layer, **changes) if layer.name == name else layer
        for layer in recipe.layers
    )
    return dataclasses.replace(recipe, layers=layers)


def test_entries_that_do_not_go_together_are_refused() -> None:
    model, recipe = keras_models.sequential(), _recipe(input_bits=6)
    with pytest.raises(ValueError, match=r"conv2 takes 5 input bits, and tensor 'relu1'.* has 6"):
        accq.quantize(model, recipe=_with(recipe, "conv2", input_bits=5))
    with pytest.raises(ValueError, match=r"conv2: expected 12 log2_scales.*received 2"):
        accq.quantize(model, recipe=_with(recipe, "conv2", log2_scales=(0.0, 1.0)))
    with pytest.raises(ValueError, match=r"method: expected one of.*'magic'"):
        accq.quantize(model, recipe=_with(recipe, "conv2", method="magic"))
    with pytest.raises(TypeError, match=r"speed: .*no option of method 'a2q'"):
        accq.quantize(model, recipe=_with(recipe, "conv2", options={"speed": 1}))
    with pytest.raises(BudgetError):
        accq.quantize(model, recipe=_with(recipe, "conv2", acc_bits=4))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"acc_bits": 16}, r"acc_bits=16 \(the recipe says \[14\]\)"),
        ({"weight_bits": 2}, "weight_bits=2"),
        ({"tile": 3}, r"tile=3 \(the recipe says \[None\]\)"),
        ({"method": "round"}, "method"),
        ({"exclude": "first_last"}, "exclude"),
        ({"overrides": {}}, "overrides"),
        ({"input_range": (0, 1)}, "input_range"),
        ({"scheme": "fixed_point"}, "scheme"),
        ({"regularization": 0.1}, "regularization"),
    ],
)
def test_arguments_that_contradict_a_recipe_are_named(arguments, text: str) -> None:
    with pytest.raises(ValueError, match=f"contradicted by {text}.*leave these arguments out"):
        accq.quantize(keras_models.sequential(), recipe=_recipe(), **arguments)


def test_agreeing_arguments_and_other_objects() -> None:
    recipe = _recipe()
    accq.quantize(keras_models.sequential(), 14, recipe=recipe)
    with pytest.raises(TypeError, match=r"recipe: expected a Recipe.*Recipe\.load"):
        accq.quantize(keras_models.sequential(), recipe="recipe.json")
    with pytest.raises(UnsupportedModelError, match="without quantized layers"):
        accq.recipe_of(keras_models.sequential())
