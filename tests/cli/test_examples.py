"""Every command that the help shows does something. Those of docs/: tests/documents."""

import importlib
import re
import shlex

import numpy as np
import pytest
import tflite_models as models

import keras_accq as accq
from keras_accq.bench.measure import Bench, Row
from keras_accq.cli import main as cli
from keras_accq.cli.common import CHECK_FAILED, OK

_MODULES = ("inspect", "rewrite", "verify", "simulate", "bench", "report", "recipe")


def _lines():
    for name in _MODULES:
        text = importlib.import_module(f"keras_accq.cli.{name}").__doc__
        yield from re.findall(r"^  accq (.*)$", text.partition("Examples:")[2], re.M)


def _words(line):
    """Without the comment, which two spaces or a # set apart, and without pipes."""
    return shlex.split(re.split(r"\s{2,}|\s[|>#]\s?", line)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from keras_accq.recipe import Provenance, Recipe

    path = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    (path / "model.tflite").write_bytes(
        models.conv2d(rng.integers(-3, 4, (4, 3, 3, 2)), [1, 5, 5, 2])
    )
    accq.rewrite(path / "model.tflite", path / "model16.tflite")
    images = rng.integers(-128, 128, (3, 5, 5, 2)).astype(np.int8)
    np.save(path / "images.npy", images)
    np.savez(path / "images.npz", images)
    row = Row("conv", "", 1, "reference", 0, 0, 2.0, 1.0)
    bench = Bench((row,), (row,), row, (), 1, 1, 1, 1, 1, "a CPU")
    (path / "bench.json").write_text(bench.to_json())
    for name in ("recipe", "old", "new"):
        Recipe("m", "free", (), (), Provenance("test", "0")).save(path / f"{name}.json")
    return path


@pytest.mark.parametrize("line", sorted(set(_lines())))
def test_example(folder, monkeypatch, line, delegate_library):
    if line.startswith("report"):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(folder)
    arguments = cli.parser().parse_args(_words(line))
    if ".keras" in line:
        return  # Understood; tests/cli/test_keras.py runs such.
    if "--kernel" in line:
        arguments.kernel = "reference"  # The one that every CPU runs.
    if arguments.command == "bench":
        arguments.samples = 1
    assert cli.main(arguments) in (OK, CHECK_FAILED)


def test_there_are_examples():
    assert {line.split()[0] for line in _lines()} == set(_MODULES)
