import json
import subprocess
import sys

import numpy as np
import pytest
import tflite_models
from native_build import REPOSITORY

import keras_accq as accq

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (REPOSITORY / "benchmarks").is_dir(), reason="no checkout"),
]


def _rows(tmp_path, *arguments):
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "layers.py"), "--samples", "3"]
    report = tmp_path / "rows.json"
    done = subprocess.run(
        [*command, "--json", report, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())["rows"]
    assert all(row["stock_us"] > 0 and row["ours_us"] > 0 for row in rows)
    assert len([line for line in done.stdout.splitlines() if line.startswith("|")]) == len(rows) + 2
    return {row["name"]: row for row in rows}


def test_each_layer_of_a_file_is_measured_and_summed(tmp_path, delegate_library):
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite_models.residual(np.random.default_rng(0), size=12, channels=16))
    rows = _rows(tmp_path, model)
    assert list(rows) == ["first", "second", "all layers", "whole model"]
    assert rows["first"]["macs"] == 12 * 12 * 16 * 9 * 16
    assert rows["first"]["kernel"]
    assert rows["all layers"]["macs"] == 2 * rows["first"]["macs"]


def test_constrained_weights_need_fewer_spills(tmp_path, delegate_library):
    kernel = "avx2_k4n16"  # not what a CPU with dot products would run
    try:
        accq.load_delegate({"kernel": kernel})
    except accq.DelegateError as error:
        pytest.skip(str(error))
    arguments = ["--synthetic", "3x3x32x32x8x8", "--kernel", kernel]
    free = next(iter(_rows(tmp_path, *arguments).values()))
    constrained = next(iter(_rows(tmp_path, *arguments, "--constrained").values()))
    assert constrained["spills"] < free["spills"]


def test_a_networks_layers_are_measured_and_counted(tmp_path, delegate_library):
    rows = _rows(tmp_path, "--network", "resnet8", "--constrained")
    assert list(rows)[-1] == "all layers"
    assert rows["all layers"]["macs"] == 12_501_632  # of MLPerf Tiny's file, too


def test_no_such_network(delegate_library):
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "layers.py"), "--network", "vgg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "expected a network of networks.txt: alexnet, all_cnn_c" in done.stderr
