"""The delegate behind benchmark_model's wrapper: no place for error texts, options as one string.

The wrapper is `tflite_kernels/tests/delegate/as_benchmark_model.cc`, in a real interpreter.
"""

import json
import re

import native_build
import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert.interpreter import Interpreter, load_delegate
from native_build import REPOSITORY

import keras_accq as accq

pytestmark = pytest.mark.skipif(
    not native_build.SOURCES.is_dir(), reason="tests an installed package, no sources"
)
_RNG = np.random.default_rng(11)
_BUILTIN = models.residual(_RNG, size=6, channels=8)
_IMAGE = _RNG.integers(-128, 128, (1, 6, 6, 8)).astype(np.int8)


@pytest.fixture(scope="module")
def wrapper(delegate_library):
    folder = native_build.build(
        "release", ["-DACCQ_BUILD_TESTS=ON"], ["accq_delegate", "accq_as_benchmark_model"]
    )
    return native_build.find(folder, "libaccq_as_benchmark_model.so")


def _output(model, wrapper=None, path=None, options="", **more):
    delegates = []
    if wrapper is not None:
        given = {"path": str(path or accq.delegate_path()), "options": options}
        delegates = [load_delegate(str(wrapper), given)]
    interpreter = Interpreter(model_content=model, experimental_delegates=delegates, **more)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], _IMAGE)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _layers(report):
    """What ran with our kernels, by the report that the option asked for."""
    return [json.loads(line) for line in report.read_text().splitlines()]


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_a_file_of_our_operators(wrapper, tmp_path, threads):
    report = tmp_path / "report.jsonl"
    ours = accq.rewrite(_BUILTIN).model
    output = _output(ours, wrapper, options=f"report_path:{report}", num_threads=threads)
    np.testing.assert_array_equal(output, _output(_BUILTIN))
    assert len(_layers(report)) == 2


@pytest.mark.parametrize(
    "options",
    [
        "claim:builtin;kernel:reference;report_path:{}",
        ";report_path:{}:;;kernel:reference;claim:builtin;",
    ],
)
def test_options_between_semicolons(wrapper, tmp_path, options):
    report = tmp_path / "report.jsonl"
    output = _output(_BUILTIN, wrapper, options=options.format(report))
    np.testing.assert_array_equal(output, _output(_BUILTIN))
    assert [layer["kernel"] for layer in _layers(report)] == ["reference", "reference"]


@pytest.mark.parametrize(
    "dropped", ["claim:builtin,verbose:1", "claim=builtin", "claim", "claim:", ":", "claim:a:b"]
)
def test_pairs_that_are_no_pairs_are_dropped_without_a_word(wrapper, tmp_path, capfd, dropped):
    """Nothing reaches the delegate, so it can not warn: the documentation does."""
    report = tmp_path / "report.jsonl"
    options = f"{dropped};kernel:reference;report_path:{report}"
    output = _output(_BUILTIN, wrapper, options=options)
    np.testing.assert_array_equal(output, _output(_BUILTIN))
    assert _layers(report) == []
    assert "keras-accq" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("speed:11", 'unknown option "speed"; there are claim, kernel, report_path, threads'),
        ("claim: builtin", 'option claim: expected custom or builtin, got " builtin"'),
        ("claim:builtin; verbose:1", 'unknown option " verbose"'),
        ("claim:builtin,", 'option claim: expected custom or builtin, got "builtin,"'),
        ("verbose:yes", 'option verbose: expected 0 or 1, got "yes"'),
        (":1", 'unknown option ""'),
        ("::", 'unknown option ""'),
    ],
)
def test_a_wrong_option_is_told_in_the_log(wrapper, capfd, options, text):
    """benchmark_model takes no text, and runs stock kernels then."""
    with pytest.raises(ValueError, match="the library made no delegate"):
        _output(_BUILTIN, wrapper, options=options)
    assert f"keras-accq: no delegate was made: {text}" in capfd.readouterr().err


def test_the_options_that_documents_show(wrapper):
    for name in ("benchmark_model", "android"):
        text = (REPOSITORY / "docs" / f"{name}.md").read_text()
        shown = set(re.findall(r"external_delegate_options='(.*?)'", text))
        assert shown
        for options in shown:
            np.testing.assert_array_equal(
                _output(_BUILTIN, wrapper, options=options), _output(_BUILTIN)
            )
