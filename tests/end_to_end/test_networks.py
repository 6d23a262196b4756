"""Keras networks through quantize and convert: the files compute what the models do."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import keras_accq as accq

_NAMES = (
    "residual",
    "pools_and_branches",
    "transposed",
    "squeeze_and_excite",
    "twins",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "conv_bn_relu",
            "depthwise",
            "dilated_groups",
            "dense_only",
            "two_inputs_two_outputs",
            "grown",
            "slopes",
            "lone_layers",
            "separable",
            "sequence",
        )
    ),
)


class Case(NamedTuple):
    """A quantized network, its inputs, and its file with custom operators and int8 ends."""

    qmodel: object
    inputs: list
    path: Path
    certificate: accq.Certificate


@pytest.fixture(scope="module", params=_NAMES)
def case(request, tmp_path_factory) -> Case:
    from end_to_end import small_networks

    model = small_networks.randomized(getattr(small_networks, request.param))
    inputs = small_networks.inputs_of(model)
    qmodel = accq.quantize(model, 16, calibration_data=inputs if len(inputs) > 1 else inputs[0])
    accq.round_biases(qmodel)
    path = tmp_path_factory.mktemp("networks") / f"{request.param}.tflite"
    return Case(qmodel, inputs, path, accq.convert(qmodel, path))


def _rescaled(qmodel, inputs):
    """What the int8 file's inputs stand for: Rescaling layers are left out of it."""
    import keras

    layers = [x for x in qmodel.layers if isinstance(x, keras.layers.Rescaling)]
    return [x * layers[0].scale + layers[0].offset for x in inputs] if layers else inputs


def _compare(result, wanted, step) -> None:
    """Within two output steps, nearly all equal, and the same maximum along channels."""
    difference = np.abs(result - wanted)
    assert result.shape == wanted.shape
    assert difference.max() <= 2.01 * step
    assert np.mean(difference > 0.5 * step) <= 0.005
    rows, wanted_rows = (a.reshape(-1, a.shape[-1]) for a in (result, wanted))
    best = np.take_along_axis(rows, wanted_rows.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert np.mean(best == rows.max(axis=1)) >= 0.99


def _expected(case: Case) -> list:
    inputs = case.inputs if len(case.inputs) > 1 else case.inputs[0]
    results = case.qmodel.predict(inputs, verbose=0)
    return results if isinstance(results, list) else [results]


def test_stock_runtime_computes_the_model(case: Case, tmp_path) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    path = tmp_path / "builtin.tflite"
    accq.rewrite(case.path, path, ops="builtin")
    interpreter = Interpreter(model_path=str(path))
    inputs = []
    for entry, x in zip(
        interpreter.get_input_details(), _rescaled(case.qmodel, case.inputs), strict=True
    ):
        scale, zero_point = entry["quantization"]
        inputs.append(np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8))
    results = outputs(Interpreter, path, inputs)
    for result, wanted, entry in zip(
        results, _expected(case), interpreter.get_output_details(), strict=True
    ):
        scale, zero_point = entry["quantization"]
        _compare((result.astype(np.float32) - zero_point) * scale, wanted, scale)


def test_float_ends_take_and_give_what_keras_does(case: Case, tmp_path) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    path = tmp_path / "float.tflite"
    certificate = accq.convert(
        case.qmodel, path, ops="builtin", input_type="float32", output_type="float32"
    )
    assert certificate == accq.verify(path)
    assert certificate.ok
    results = outputs(Interpreter, path, case.inputs)
    for result, wanted in zip(results, _expected(case), strict=True):
        assert result.dtype == np.float32
        step = np.diff(np.unique(wanted)).min()
        _compare(result, wanted, max(step, np.ptp(wanted) / 255))


def test_every_compute_layer_is_certified_by_name(case: Case) -> None:
    assert case.certificate == accq.verify(case.path)
    layers = accq.summary(case.qmodel).layers
    names = [op.name for op in case.certificate.ops]
    assert len(set(names)) == len(names)
    # Further calls of a layer have a number.
    assert {re.sub(r"-call\d+$", "", name) for name in names} == {x.name for x in layers}
    assert case.certificate.verdict == f"P = 16 monolithic: all {len(names)} ops"
    for layer in layers:
        half = 2 ** (layer.input_bits - 1)
        for op in case.certificate.ops:
            if op.name == layer.name or op.name.startswith(f"{layer.name}-call"):
                assert (op.k, op.channels) == (layer.k, layer.channels)
                assert (op.in_min, op.in_max) == (-half, half - 1)


def test_custom_and_builtin_files_give_the_same_bytes(
    case: Case, tmp_path, delegate_library
) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    accq.rewrite(case.path, tmp_path / "builtin.tflite", ops="builtin")
    random = np.random.default_rng(2)
    integers = [random.integers(-128, 128, x.shape, dtype=np.int8) for x in case.inputs]
    ours = outputs(accq.Interpreter, case.path, integers)
    stock = outputs(Interpreter, tmp_path / "builtin.tflite", integers)
    for a, b in zip(ours, stock, strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(np.unique(a)) > 1
