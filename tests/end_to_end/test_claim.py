"""claim="builtin": built-in operators of any file, taken without a rewrite; the same outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert.interpreter import Interpreter as Stock

from keras_accq import DelegateError, rewrite, runtime, verify
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load

pytestmark = pytest.mark.usefixtures("delegate_library")

# Forced, it takes every layer, whatever this CPU is good at.
_ANY = "reference"


def _network(rng: np.random.Generator) -> bytes:
    """Strided, dilated, grouped, depthwise, transposed, dense, with activations and without."""
    graph = models.GraphBuilder()

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape)

    def bias(channels: int) -> np.ndarray:
        return rng.integers(-500, 500, channels)

    x = y = graph.tensor("input", [1, 12, 11, 4], scale=0.05, zero_point=-4)
    y = models.add_conv2d(
        graph,
        y,
        weights(8, 3, 3, 4),
        name="strided",
        stride=(2, 2),
        bias=bias(8),
        weight_scale=rng.uniform(0.005, 0.02, 8),
        output_scale=0.3,
        activation=models.RELU,
    )
    y = models.add_conv2d(
        graph, y, weights(6, 3, 2, 4), name="groups", dilation=(1, 2), output_scale=1.5
    )
    y = models.add_depthwise_conv2d(
        graph, y, weights(1, 3, 3, 6), name="depthwise", output_scale=0.9, bias=bias(6)
    )
    y = models.add_fully_connected(
        graph, y, weights(5, 6), name="dense", output_scale=2.0, keep_num_dims=True
    )
    return graph.build([x], [y])


def _outputs(interpreter: Stock, inputs: list[np.ndarray]) -> list[np.ndarray]:
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    results = []
    for x in inputs:
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return results


def _images(rng: np.random.Generator, count: int = 3) -> list[np.ndarray]:
    return [rng.integers(-128, 128, (1, 12, 11, 4)).astype(np.int8) for _ in range(count)]


@pytest.mark.parametrize("threads", [None, 2])
def test_outputs_and_counts(threads: int | None) -> None:
    rng = np.random.default_rng(1)
    data = _network(rng)
    ours = runtime.Interpreter(
        model_content=data, claim="builtin", kernel=_ANY, num_threads=threads
    )
    assert (ours.delegated_builtins, ours.int8_builtins, ours.builtins_elsewhere) == (4, 4, 0)
    assert ours.delegated_nodes == 0
    assert "0 of 0 keras-accq operators and 4 of 4 int8 built-ins" in repr(ours)
    inputs = _images(rng)
    expected = _outputs(Stock(model_content=data), inputs)
    np.testing.assert_array_equal(_outputs(ours, inputs), expected)


def test_the_best_kernels_give_the_same() -> None:
    rng = np.random.default_rng(2)
    data = _network(rng)
    ours = runtime.Interpreter(model_content=data, claim="builtin")
    inputs = _images(rng)
    expected = _outputs(Stock(model_content=data), inputs)
    np.testing.assert_array_equal(_outputs(ours, inputs), expected)
    assert ours.int8_builtins == 4


def test_what_is_taken_is_what_rewrite_takes() -> None:
    """Both follow the same rules: an operator without `reason`."""
    data = models.conv2d(np.ones((2, 3, 3, 4)), (1, 5, 5, 4), output_scale=1e-9)
    (record,) = quantized_ops(load(data))
    assert record.reason is not None
    ours = runtime.Interpreter(model_content=data, claim="builtin", kernel=_ANY)
    assert (ours.delegated_builtins, ours.int8_builtins) == (0, 1)


def test_is_off_by_default() -> None:
    ours = runtime.Interpreter(model_content=_network(np.random.default_rng(3)), kernel=_ANY)
    assert (ours.delegated_builtins, ours.int8_builtins) == (0, 0)


def test_custom_and_built_in_operators_together() -> None:
    rng = np.random.default_rng(4)
    data = _network(rng)
    mixed = rewrite(data).model  # all custom; claiming changes nothing
    ours = runtime.Interpreter(model_content=mixed, claim="builtin", kernel=_ANY)
    assert (ours.delegated_nodes, ours.delegated_builtins) == (4, 0)
    inputs = _images(rng)
    expected = _outputs(Stock(model_content=data), inputs)
    np.testing.assert_array_equal(_outputs(ours, inputs), expected)


def test_stays_after_a_resize() -> None:
    rng = np.random.default_rng(5)
    data = _network(rng)
    ours = runtime.Interpreter(model_content=data, claim="builtin", kernel=_ANY)
    x = rng.integers(-128, 128, (3, 12, 11, 4)).astype(np.int8)
    ours.resize_tensor_input(ours.get_input_details()[0]["index"], x.shape)
    expected = models.run(data, x)
    np.testing.assert_array_equal(_outputs(ours, [x]), expected)
    assert ours.delegated_builtins == 4


def test_says_loudly_what_another_delegate_took() -> None:
    """In a process of its own, since the text is the C library's."""
    code = (
        "import sys, keras_accq.runtime as r\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "first, second = (r.load_delegate({'claim': 'builtin', 'kernel': 'reference'})"
        " for _ in range(2))\n"
        "data = sys.stdin.buffer.read()\n"
        "Interpreter(model_content=data, experimental_delegates=[first, second])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=_network(np.random.default_rng(6)),
        capture_output=True,
        check=True,
    )
    assert (
        b"keras-accq: claimed 0 of 4 int8 layers; 4 were already taken by another delegate"
        in done.stderr
    )


def test_bad_values() -> None:
    data = _network(np.random.default_rng(7))
    with pytest.raises(DelegateError, match='claim: expected custom or builtin, got "all"'):
        runtime.Interpreter(model_content=data, claim="all")  # type: ignore[arg-type]
    with pytest.raises(DelegateError, match='threads: expected 0 to 64, got "-2"'):
        runtime.load_delegate({"threads": -2})


@pytest.mark.parametrize(
    ("kernel", "layout", "names"),
    [
        ("avx2_k4n16", "avx2_k4n16", {"strided", "groups", "dense"}),
        ("sse41_k4n16", "avx2_k4n16", {"strided", "groups", "dense"}),
        ("avx2_dw", "avx2_dw", {"depthwise"}),
    ],
)
def test_spills_of_each_node_are_those_of_verify(
    kernel: str, layout: str, names: set[str], tmp_path: Path
) -> None:
    """Forced, the kernel takes what it handles, and the report says what the certificate does."""
    data = _network(np.random.default_rng(8))
    report = tmp_path / "report.jsonl"
    try:
        runtime.load_delegate({"kernel": kernel})
    except DelegateError as error:
        pytest.skip(str(error))
    runtime.Interpreter(
        model_content=data, claim="builtin", kernel=kernel, report_path=report
    ).allocate_tensors()
    lines = {line["output"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert lines.keys() == names
    for op in verify(data).ops:
        if op.name in names:
            figures = op.spills[layout]
            for key in ("steps", "spills", "extra_steps", "int32_steps"):
                assert lines[op.name][key] == getattr(figures, key), (op.name, key)


@pytest.mark.skipif("ACCQ_RESNET8_INT8" not in os.environ, reason="needs the int8 ResNet-8 file")
def test_a_real_file() -> None:
    path = os.environ["ACCQ_RESNET8_INT8"]
    ours = runtime.Interpreter(path, claim="builtin", kernel=_ANY)
    assert ours.delegated_builtins == ours.int8_builtins == 10
    shape = tuple(ours.get_input_details()[0]["shape"])
    rng = np.random.default_rng(9)
    inputs = [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(5)]
    np.testing.assert_array_equal(_outputs(ours, inputs), _outputs(Stock(path), inputs))
