import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.errors import InvalidFileError
from keras_accq.recipe import LayerRecipe, Provenance, Recipe, TensorRecipe

# What version 1 writes. It must be read, and written the same, by every later version.
GOLDEN = """{
 "format": "keras-accq recipe",
 "version": 1,
 "model": "plain",
 "scheme": "fixed_point",
 "layers": [
  {
   "name": "conv",
   "kernel_shape": [3, 3, 1, 2],
   "acc_bits": 16,
   "weight_bits": 5,
   "input_bits": 6,
   "tile": 8,
   "method": "a2q",
   "options": {
    "regularization": 0.001
   },
   "log2_scales": [-7.0, -6.0]
  },
  {
   "name": "dense",
   "kernel_shape": [8, 4],
   "acc_bits": null,
   "weight_bits": 8,
   "input_bits": 8,
   "tile": null,
   "method": null,
   "options": {},
   "log2_scales": null
  }
 ],
 "tensors": [
  {
   "name": "image",
   "bits": 6,
   "low": 0.0,
   "high": 0.984375,
   "clip": null,
   "learn": true
  },
  {
   "name": "conv",
   "bits": 8,
   "low": null,
   "high": null,
   "clip": 2.5,
   "learn": false
  }
 ],
 "provenance": {
  "source": "accq.search",
  "package_version": "0.1.0",
  "settings": {
   "acc_bits": 16
  },
  "data_sha256": "00ff",
  "metrics": {
   "evaluate": 0.5
  }
 }
}"""

RECIPE = Recipe(
    "plain",
    "fixed_point",
    (
        LayerRecipe(
            "conv", (3, 3, 1, 2), 16, 5, 6, 8, "a2q", {"regularization": 0.001}, (-7.0, -6.0)
        ),
        LayerRecipe("dense", (8, 4), None, 8, 8),
    ),
    (TensorRecipe("image", 6, 0.0, 0.984375, learn=True), TensorRecipe("conv", 8, clip=2.5)),
    Provenance("accq.search", "0.1.0", {"acc_bits": 16}, "00ff", {"evaluate": 0.5}),
)


def test_version_1_is_read_and_written_as_ever() -> None:
    assert Recipe.from_json(GOLDEN) == RECIPE
    assert RECIPE.to_json() == GOLDEN


def test_a_file_is_written_whole_and_read_back(tmp_path) -> None:
    path = tmp_path / "recipe.json"
    RECIPE.save(path)
    assert Recipe.load(path) == RECIPE
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("{")
    with pytest.raises(InvalidFileError, match=r"recipe\.json: recipe: not JSON"):
        Recipe.load(path)


@settings(deadline=None)
@given(
    st.lists(st.floats(-60, 10, width=32), min_size=1, max_size=9),
    st.floats(-1e30, 0),
    st.floats(0, 1e30),
    st.text(max_size=8),
)
def test_round_trips_exactly(scales, low, high, name) -> None:
    layer = LayerRecipe(name, (1,), 16, 4, 8, None, "round", {"[\n1\n]": "[\n 1\n]"}, tuple(scales))
    recipe = dataclasses.replace(
        RECIPE, layers=(layer,), tensors=(TensorRecipe(name, 8, low, high),)
    )
    assert Recipe.from_json(recipe.to_json()) == recipe


def _changed(change) -> str:
    record = json.loads(GOLDEN)
    change(record)
    return json.dumps(record)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.update(version=2), r"version 2.*versions up to 1; install a newer"),
        (lambda r: r.update(version="1"), r'integer "version".*\'1\''),
        (lambda r: r.update(version=True), r'integer "version"'),
        (lambda r: r.pop("version"), r'integer "version".*None'),
        (lambda r: r.update(format="x"), r'"format": "keras-accq recipe"'),
        (lambda r: r.update(extra=1), r"recipe: unknown 'extra'; expected only 'model'.*newer"),
        (lambda r: r.pop("scheme"), r"recipe: expected 'scheme', which is missing"),
        (lambda r: r.update(scheme="int"), r"recipe: scheme: expected one of.*'int'"),
        (lambda r: r.update(layers={}), r"recipe\.layers: expected a list, received \{\}"),
        (lambda r: r["layers"].append(1), r"recipe\.layers\[2\]: expected an object, received 1"),
        (lambda r: r["layers"].append(r["layers"][0]), r"layers: expected each name once.*conv"),
        (lambda r: r["layers"][0].update(widths=1), r"recipe\.layers\[0\]: unknown 'widths'"),
        (
            lambda r: r["layers"][0].update(weight_bits="5"),
            r'recipe\.layers\[0\]\.weight_bits: expected an integer, received "5"',
        ),
        (lambda r: r["layers"][0].update(weight_bits=5.0), r"weight_bits: expected an integer"),
        (lambda r: r["layers"][0].update(weight_bits=True), r"weight_bits: expected an integer"),
        (lambda r: r["layers"][0].update(weight_bits=9), r"layers\[0\]: .*2\.\.8.*9"),
        (lambda r: r["layers"][0].update(acc_bits=40), r"layers\[0\]: acc_bits.*40"),
        (lambda r: r["layers"][0].update(method=None), r"layers\[0\]: conv: .*acc_bits and method"),
        (lambda r: r["layers"][0].update(log2_scales=None), r"conv: expected log2_scales"),
        (
            lambda r: r["layers"][0].update(log2_scales=[1, "a"]),
            r"layers\[0\]\.log2_scales\[1\]: expected a finite number, received \"a\"",
        ),
        (lambda r: r["layers"][0].update(options=[]), r"options: expected an object"),
        (lambda r: r["tensors"][0].update(low=2.0), r"tensors\[0\]: image: expected low <= high"),
        (lambda r: r["tensors"][0].update(high=None), r"image: expected both low and high"),
        (lambda r: r["tensors"][1].update(learn=True), r"conv: expected a range to learn from"),
        (lambda r: r["tensors"][0].update(high=1e999), r"expected finite numbers.*Infinity"),
        (lambda r: r["provenance"].update(source=1), r"provenance\.source: expected a string"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change, text: str) -> None:
    with pytest.raises(InvalidFileError, match=text):
        Recipe.from_json(_changed(change))


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "[" * 100_000, b"\xff\xfe\x00"])
def test_other_texts_are_refused(text) -> None:
    with pytest.raises(InvalidFileError, match="recipe"):
        Recipe.from_json(text)


def test_differences_are_listed() -> None:
    assert RECIPE.diff(RECIPE) == []
    conv, dense = RECIPE.layers
    other = dataclasses.replace(
        RECIPE,
        scheme="free",
        layers=(
            dataclasses.replace(conv, input_bits=5, tile=None, log2_scales=(-7.0, -5.5)),
            dataclasses.replace(dense, name="last"),
        ),
        tensors=(dataclasses.replace(RECIPE.tensors[0], bits=5, high=0.5), RECIPE.tensors[1]),
        provenance=Provenance("x", "y"),
    )
    assert RECIPE.diff(other) == [
        "scheme: fixed_point -> free",
        "conv: input_bits 6 -> 5, tile 8 -> None, scales of 1 of 2 channels",
        "dense: only in the first",
        "last: only in the second",
        "tensor image: bits 6 -> 5, high 0.984375 -> 0.5",
    ]
