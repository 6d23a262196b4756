"""Commands on .keras files, which load TensorFlow."""

import json

import pytest

import keras_accq as accq
from keras_accq.cli import main as cli
from keras_accq.cli.common import FILE, OK, UNABLE

pytestmark = pytest.mark.slow


def _run(*arguments):
    return cli.main(cli.parser().parse_args([str(a) for a in arguments]))


def test_from_a_saved_model_to_a_certified_file(tmp_path, capsys):
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="dense"),
        ]
    )
    plain, quantized = tmp_path / "plain.keras", tmp_path / "q.keras"
    model.save(plain)
    samples = np.random.default_rng(0).normal(size=(32, 6, 6, 2)).astype(np.float32)
    qmodel = accq.quantize(model, 14, calibration_data=samples, input_range=(-3, 3))
    qmodel.save(quantized)

    assert _run("inspect", quantized) == OK
    assert "budget" in capsys.readouterr().out
    assert _run("inspect", quantized, "--json") == OK
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [layer["name"] for layer in layers] == ["conv", "dense"]

    assert _run("recipe", quantized, "--output", tmp_path / "r.json") == OK
    assert accq.Recipe.load(tmp_path / "r.json") == accq.recipe_of(qmodel)
    capsys.readouterr()

    output = tmp_path / "q.tflite"
    assert _run("rewrite", quantized, output, "--ops", "builtin", "--input_type", "float32") == OK
    assert "P = 14 monolithic: all 2 ops" in capsys.readouterr().out
    assert accq.verify(output).ok
    assert not any(op.custom for op in accq.verify(output).ops)

    assert _run("rewrite", plain, output) == UNABLE
    assert "accq.quantize" in capsys.readouterr().err
    (tmp_path / "bad.keras").write_bytes(b"no archive")
    assert _run("inspect", tmp_path / "bad.keras") == FILE
    assert "bad.keras: Keras can not load it" in capsys.readouterr().err
