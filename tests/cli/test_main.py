"""The command line as its users meet it: statuses, texts, JSON. Mostly in this process."""

import json
import os
import pty
import resource
import subprocess
import sys

import numpy as np
import pytest
import tflite_models as models

import keras_accq as accq
from keras_accq.cli import main as cli
from keras_accq.cli.common import CHECK_FAILED, FILE, OK, UNABLE, USAGE
from keras_accq.tflite import options

RNG = np.random.default_rng(0)
COMMANDS = ("inspect", "rewrite", "verify", "simulate", "bench", "report", "recipe")
_CLAIM = options.encode(options.CONV_2D, {"acc_bits": 16, "partition": options.MONOLITHIC})


def run(*arguments):
    """The exit status, as a process would have it."""
    try:
        return cli.main(cli.parser().parse_args([str(a) for a in arguments]))
    except SystemExit as done:
        return done.code


@pytest.fixture
def files(tmp_path):
    """A file of built-ins, one that keeps its claim, one that does not, and a damaged one."""
    kept = np.ones((2, 2, 2, 10), np.int8)
    for name, data in {
        "builtin": models.residual(RNG, size=6, channels=8),
        "kept": models.conv2d(kept, [1, 4, 4, 10], custom_options=_CLAIM),
        "broken": models.conv2d(kept * 100, [1, 4, 4, 10], custom_options=_CLAIM),
        "damaged": b"\x1c\x00\x00\x00TFL3 and no more",
    }.items():
        (tmp_path / f"{name}.tflite").write_bytes(data)
    return tmp_path


def test_help_teaches(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "exit status:" in text
    for command in COMMANDS:
        assert f"  {command} " in text
        assert run(command, "--help") == 0
        shown = capsys.readouterr().out
        assert f"examples:\n  accq {command} " in shown
        assert "Examples:" not in shown
        assert max(map(len, shown.splitlines())) <= 100
    assert run("--version") == 0
    assert accq.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("verify",),
        ("verify", "x.keras"),
        ("verify", "builtin.tflite", "--acc_bits", "99"),
        ("rewrite", "builtin.tflite", "out.bin"),
        ("rewrite", "builtin.tflite", "out.tflite", "--batch_size", "2"),
        ("simulate", "builtin.tflite", "--samples", "0"),
        ("simulate", "builtin.tflite", "--samples", "-1"),
        ("simulate", "builtin.tflite", "--tile", "0"),
        ("bench", "builtin.tflite", "--samples", "0"),
        ("bench", "builtin.tflite", "--threads", "65"),
        ("report", "builtin.tflite", "out.pdf"),
        ("report", "builtin.tflite", "out.html", "--threads", "0"),
        ("recipe", "a.json", "b.json", "--output", "c.json"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(files, monkeypatch, capsys, arguments):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert run(*arguments) == USAGE
    assert "accq" in capsys.readouterr().err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "missing.tflite"),
        ("verify", "damaged.tflite"),
        ("inspect", "damaged.tflite"),
        ("inspect", "missing.keras"),
        ("rewrite", "damaged.tflite", "out.tflite"),
        ("rewrite", "builtin.tflite", "nowhere/out.tflite"),
        ("rewrite", "builtin.tflite", "folder.tflite"),
        ("report", "builtin.tflite", "nowhere/out.html"),
        ("report", "builtin.tflite", "out.html", "--png", "damaged.tflite"),
        ("report", "builtin.tflite", "out.html", "--times", "damaged.tflite"),
        ("report", "builtin.tflite", "out.html", "--times", "missing.json"),
        ("simulate", "builtin.tflite", "--inputs", "missing.npy"),
        ("simulate", "builtin.tflite", "--inputs", "builtin.tflite"),
        ("bench", "damaged.tflite"),
        ("recipe", "damaged.tflite"),
    ],
    ids=" ".join,
)
def test_a_file_that_can_not_be_used(files, monkeypatch, capsys, arguments):
    monkeypatch.chdir(files)
    (files / "folder.tflite").mkdir()
    before = sorted(files.iterdir())
    assert run(*arguments) == FILE
    told = capsys.readouterr().err
    fine = ("builtin.tflite", "out.tflite", "out.html", "--inputs", "--png", "--times")
    wrong = [word for word in arguments[1:] if word not in fine]
    place = (wrong or arguments)[-1].partition("/")[0]
    assert told.startswith(f"accq {arguments[0]}: {place}: ")
    assert "Traceback" not in told
    assert sorted(files.iterdir()) == before


def test_verify(files, capsys):
    assert run("verify", files / "kept.tflite") == OK
    assert capsys.readouterr().out.splitlines()[-1] == "P = 16 monolithic: all 1 op"
    assert run("verify", files / "broken.tflite", "--json") == CHECK_FAILED
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["ok"] is False
    assert document["problems"] == ["a claim does not hold"]
    assert accq.Certificate.from_json(shown.out) == accq.verify(files / "broken.tflite")


def test_verify_with_a_width_of_ones_own(files, capsys):
    assert run("verify", files / "kept.tflite", "--acc_bits", "14") == OK  # 40 * 128 = 5120
    assert run("verify", files / "kept.tflite", "--acc_bits", "13", "--json") == CHECK_FAILED
    assert "needs 14 bits, more than --acc_bits 13" in capsys.readouterr().err
    assert run("verify", files / "builtin.tflite", "--acc_bits", "8") == CHECK_FAILED


def test_rewrite_there_and_back(files, capsys):
    ours, back = files / "ours.tflite", files / "back.tflite"
    assert run("rewrite", files / "builtin.tflite", ours) == OK
    assert "2 of 2 dot-product operators replaced" in capsys.readouterr().out
    assert run("rewrite", ours, back, "--ops", "builtin", "--json") == OK
    document = json.loads(capsys.readouterr().out)
    assert [op["after"].split(", ")[-1] for op in document["taken"]] == ["CONV_2D", "CONV_2D"]
    assert back.read_bytes() == accq.rewrite(ours, ops="builtin").model


def test_inspect(files, capsys):
    assert run("inspect", files / "builtin.tflite") == OK
    text = capsys.readouterr().out
    assert "2 CONV_2D" in text
    assert "can be taken" in text
    unusable = files / "unusable.tflite"
    unusable.write_bytes(models.conv2d(np.ones((2, 3, 3, 4)), (1, 5, 5, 4), output_scale=1e-9))
    assert run("inspect", unusable) == OK
    assert "stays: channel 0: its multiplier" in capsys.readouterr().out
    assert run("inspect", files / "kept.tflite", "--json") == OK
    document = json.loads(capsys.readouterr().out)
    (layer,) = document["dot_products"]
    assert (layer["weight_bits"], layer["input_bits"]) == (2, 8)
    assert layer["macs"] == 4 * 4 * 2 * 40
    assert document["verdict"] == "P = 16 monolithic: all 1 op"
    assert document["kept_certificate_agrees"] is None


def test_inspect_holds_a_carried_certificate_against_the_bytes(files, capsys):
    assert run("rewrite", files / "kept.tflite", files / "p.tflite", "--ops", "builtin") == OK
    capsys.readouterr()
    assert run("inspect", files / "p.tflite") == OK
    assert "it carries is what its bytes give" in capsys.readouterr().out
    data = (files / "p.tflite").read_bytes()
    weights = np.ones(40, np.int8).tobytes()
    (files / "p.tflite").write_bytes(data.replace(weights, weights[:-1] + b"\x02"))
    assert run("inspect", files / "p.tflite") == OK
    assert "it carries is NOT what its bytes give" in capsys.readouterr().out
    assert run("verify", files / "p.tflite") == OK  # still within the claim


def test_simulate(files, capsys):
    model = files / "broken.tflite"
    np.save(files / "zeros.npy", np.zeros((2, 4, 4, 10), np.int8))
    np.savez(files / "most.npz", x=np.full((3, 4, 4, 10), 127, np.int8))
    assert run("simulate", model, "--inputs", files / "zeros.npy") == OK
    assert run("simulate", model, "--inputs", files / "most.npz", "--samples", "1") == CHECK_FAILED
    assert "0 differ" in capsys.readouterr().out
    most = ("--inputs", files / "most.npz", "--arithmetic", "wrap", "--json")
    assert run("simulate", model, *most) == CHECK_FAILED
    document = json.loads(capsys.readouterr().out)
    assert document["overflows"] == sum(document["ops"][0]["overflows"]) > 0
    assert run("simulate", files / "kept.tflite") == OK
    assert "random ones" in capsys.readouterr().err
    assert run("simulate", model, "--inputs", files / "most.npz", "--tile", "1") == OK
    np.save(files / "floats.npy", np.zeros((2, 4, 4, 10), np.float32))
    assert run("simulate", model, "--inputs", files / "floats.npy") == USAGE


def test_bench(files, capsys, delegate_library):
    assert run("bench", files / "builtin.tflite", "--samples", "1") == OK
    text = capsys.readouterr().out
    assert "| whole model" in text
    assert "the delegate runs 2 of 3 operators" in text
    assert run("bench", files / "builtin.tflite", "--samples", "1", "--json") == OK
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == ["first", "second", "all layers", "whole model"]


def test_what_can_not_be_done_here(files, capsys, monkeypatch, delegate_library):
    assert run("bench", files / "builtin.tflite", "--kernel", "none") == UNABLE
    assert "refuses its options" in capsys.readouterr().err
    monkeypatch.setenv("ACCQ_DELEGATE", str(files / "none.so"))
    assert run("bench", files / "builtin.tflite") == UNABLE
    assert "ACCQ_DELEGATE" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("report", files / "builtin.tflite", files / "out.html") == UNABLE
    assert "pip install 'keras-accq[report]'" in capsys.readouterr().err
    assert not (files / "out.html").exists()
    (files / "q.keras").touch()
    monkeypatch.delitem(sys.modules, "keras_accq.loading", raising=False)
    monkeypatch.setitem(sys.modules, "keras", None)
    assert run("inspect", files / "q.keras") == UNABLE
    assert "pip install keras tensorflow" in capsys.readouterr().err


def test_recipe(tmp_path, capsys):
    from keras_accq.recipe import LayerRecipe, Provenance, Recipe, TensorRecipe

    def recipe(bits):
        layer = LayerRecipe("conv", (3, 3, 1, 8), 16, bits, 8, None, "a2q", {}, (0.0,) * 8)
        return Recipe("m", "free", (layer,), (TensorRecipe("x", 8),), Provenance("test", "0"))

    old, new, copy = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "copy.json"
    recipe(8).save(old)
    recipe(6).save(new)
    assert run("recipe", old, "--output", copy) == OK
    assert "a2q" in capsys.readouterr().out
    assert copy.read_bytes() == old.read_bytes()
    assert run("recipe", old, copy) == OK
    assert run("recipe", old, new) == CHECK_FAILED
    assert "conv: weight_bits 8 -> 6" in capsys.readouterr().out
    assert run("recipe", old, new, "--json") == CHECK_FAILED
    assert json.loads(capsys.readouterr().out)["differences"] == ["conv: weight_bits 8 -> 6"]


def _process(*arguments, **options):
    command = [sys.executable, "-m", "keras_accq", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run(command, env=environment, **options)


def test_without_arguments_it_shows_the_help():
    done = _process(check=False)
    assert done.returncode == USAGE
    assert done.stderr.startswith("usage: accq ")
    assert "Start with a file:" in done.stderr


def test_progress_is_for_terminals_and_apart_from_the_output(files, delegate_library):
    terminal, end = pty.openpty()
    arguments = ("bench", files / "builtin.tflite", "--samples", "1", "--json")
    done = _process(*arguments, stderr=end, check=True)
    os.close(end)
    assert "layers" in os.read(terminal, 65536).decode()
    os.close(terminal)
    assert json.loads(done.stdout)["format"] == 1
    assert "layers" not in _process(*arguments, check=True).stderr


def test_the_process_returns_the_status_and_is_quick(files):
    done = _process("verify", files / "broken.tflite", check=False)
    assert done.returncode == CHECK_FAILED
    assert "OVERFLOWS" in done.stdout
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert _process("verify", files / "kept.tflite", check=False).returncode == OK
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The processor's time: the machine may be busy.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_on_tflite_files_loads_tensorflow(files, command, delegate_library):
    given = {
        "recipe": ["missing.json"],
        "rewrite": [files / "kept.tflite", files / "new.tflite"],
        "bench": [files / "kept.tflite", "--samples", "1"],
        "report": [files / "kept.tflite", files / "new.html"],
    }.get(command, [files / "kept.tflite"])
    heavy = {"tensorflow", "keras"} | ({"ai_edge_litert"} if command == "verify" else set())
    code = (
        "import sys; from keras_accq.cli.main import main, parser;"
        f"main(parser().parse_args({[command, *map(str, given)]}));"
        f"print('loaded', sorted({heavy} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_a_pipe_that_closes_early_is_no_error(files):
    command = f"'{sys.executable}' -m keras_accq inspect '{files / 'builtin.tflite'}' | true"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
