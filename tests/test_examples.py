"""Every example runs, in short, and prints what it promises."""

import importlib
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from native_build import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
NAMES = ("cifar10", "digits", "fashion_mnist", "imagenet", "keyword_spotting", "transformer")
FASHION = Path("/usr/share/datasets/fashion-mnist")
pytestmark = pytest.mark.slow


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in (*NAMES, "common", "networks"):
        sys.modules.pop(name, None)


def _cifar_like(path):
    """Random images in the format of CIFAR-10's: the example's accuracy is not looked at."""
    rng = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": rng.integers(0, top, (count, *shape)).astype(np.uint8)
        for part, count in (("train", 40), ("test", 6))
        for kind, top, shape in (("x", 256, (32, 32, 3)), ("y", 10, (1,)))
    }
    np.savez(path, **arrays)
    return ["--data", str(path), "--validation", "8", "--calibration", "16", "--batch-size", "16"]


def _run(module, arguments, folder, capsys, *, figure=True):
    drawn = folder / "figure.png"
    more = ["--output", str(folder / "files")] + (["--figure", str(drawn)] if figure else [])
    module.main([*arguments, *more])
    output = capsys.readouterr().out
    assert re.search(r"certified(: all|$)", output, re.M)
    assert "us per sample" in output
    assert "keras-accq kernels" in output
    assert list((folder / "files").glob("*_custom.tflite"))
    assert not figure or drawn.read_bytes().startswith(b"\x89PNG")
    return output


@pytest.mark.parametrize("name", NAMES)
def test_help(example, name, capsys):
    with pytest.raises(SystemExit) as stop:
        example(name).main(["--help"])
    assert stop.value.code == 0
    output = capsys.readouterr().out
    assert "--figure" in output
    assert f"python examples/{name}.py" in output


def test_digits(example, tmp_path, capsys, delegate_library):
    output = _run(example("digits"), ["--epochs", "2"], tmp_path, capsys)
    assert "P = 16 monolithic: all 4 ops" in output
    assert "P = 16, tile=64: all 4 ops" in output


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", "1", "--float-epochs", "1"],
        ["--network", "all_cnn_c", "--epochs", "0", "--tile", "64"],
    ],
    ids=["resnet8", "all_cnn_c"],
)
def test_cifar10(example, options, tmp_path, capsys, delegate_library):
    module = example("cifar10")
    arguments = _cifar_like(tmp_path / "data.npz") + options
    if "all_cnn_c" in options:
        model = module.NETWORKS["all_cnn_c"]()
        assert model.count_params() == 1_373_482
        model.save(tmp_path / "float.keras")
        arguments += ["--checkpoint", str(tmp_path / "float.keras")]
    output = _run(module, arguments, tmp_path, capsys)
    assert re.search(r"P = 16,? (monolithic|tile=64): all (10|9) ops", output)
    assert (tmp_path / "files" / "results.json").stat().st_size > 0


def test_fashion_mnist(example, tmp_path, capsys, delegate_library):
    if not FASHION.exists():
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome("install Debian's dataset-fashion-mnist")
    arguments = ["--epochs", "1", "--train", "1000", "--test", "100"]
    output = _run(example("fashion_mnist"), arguments, tmp_path, capsys)
    assert output.count("P = 16 monolithic: all 5 ops") == 2


def test_fashion_mnist_says_where_its_data_come_from(example, tmp_path):
    with pytest.raises(SystemExit, match="dataset-fashion-mnist"):
        example("fashion_mnist").main(["--data", str(tmp_path)])


def test_keyword_spotting(example, tmp_path, capsys, delegate_library):
    arguments = ["--epochs", "1", "--train", "200", "--test", "40"]
    output = _run(example("keyword_spotting"), arguments, tmp_path, capsys)
    assert "accuracy, synthetic" in output
    assert "P = 16 monolithic: all 5 ops" in output


def test_synthetic_words_can_be_told_apart(example):
    module = example("keyword_spotting")
    x, y = module.dataset(200, seed=0)
    assert x.shape == (200, 48, 20)
    assert np.isfinite(x).all()
    means = np.stack([x[y == word].mean(axis=0) for word in range(8)])
    x, y = module.dataset(100, seed=1)
    distances = ((x[:, None] - means) ** 2).sum(axis=(2, 3))
    assert np.mean(distances.argmin(axis=1) == y) > 0.2  # Chance is 0.125; a network gets 0.95.


def test_imagenet_with_random_weights(example, tmp_path, capsys, delegate_library):
    arguments = ["--size", "32", "--calibration", "8", "--test", "4", "--method", "round"]
    output = _run(example("imagenet"), arguments, tmp_path, capsys)
    assert "The images were noise" in output
    assert "P = 16 monolithic: all 53 ops" in output


def test_imagenet_reads_folders_of_images(example, tmp_path):
    import keras

    for name in ("n01", "n02"):
        (tmp_path / name).mkdir()
        for number in range(3):
            image = np.full((40, 50, 3), 80 * number, np.uint8)
            keras.utils.save_img(tmp_path / name / f"{number}.png", image)
    x, y = example("imagenet").images(tmp_path, 5, 32, seed=0)
    assert x.shape == (5, 32, 32, 3)
    assert set(y.tolist()) == {0, 1}


def test_transformer(example, tmp_path, capsys, delegate_library):
    arguments = ["--steps", "3", "--calibration", "8", "--test", "4"]
    output = _run(example("transformer"), arguments, tmp_path, capsys)
    assert "P = 16 monolithic: 13 of 17 ops; not covered: 4 ops: attention0-scores" in output
    assert output.count("bits per character") == 2
