import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema

from keras_accq import DelegateError, InvalidFileError, runtime
from keras_accq.tflite import options as op_options

pytestmark = pytest.mark.usefixtures("delegate_library")

_TESTS = Path(__file__).parent


def _blob(code: str, **values: int) -> bytes:
    return op_options.encode(code, values)


def _conv(rng: np.random.Generator, custom: bool = True, size: int = 7) -> bytes:
    return models.conv2d(
        rng.integers(-127, 128, (6, 3, 3, 4)),
        (1, size, size, 4),
        bias=rng.integers(-1000, 1000, 6),
        weight_scale=rng.uniform(0.005, 0.02, 6),
        output_scale=0.4,
        output_zero=-5,
        custom_options=_blob("AccqConv2D") if custom else None,
    )


def _chain(rng: np.random.Generator, custom: bool = True, size: int = 8) -> bytes:
    """Convolution, depthwise convolution, fully connected on each pixel."""
    graph = models.GraphBuilder()
    x = graph.tensor("input", [1, size, size, 3], scale=0.05, zero_point=-4)

    def options(code: str, **values: int) -> dict[str, Any]:
        return {"custom_options": _blob(code, **values)} if custom else {}

    y = models.add_conv2d(
        graph,
        x,
        rng.integers(-127, 128, (8, 3, 3, 3)),
        name="first",
        stride=(2, 2),
        output_scale=0.3,
        bias=rng.integers(-99, 99, 8),
        **options("AccqConv2D", stride_h=2, stride_w=2),
    )
    y = models.add_depthwise_conv2d(
        graph,
        y,
        rng.integers(-127, 128, (1, 3, 3, 8)),
        name="second",
        output_scale=0.6,
        bias=rng.integers(-99, 99, 8),
        **options("AccqDepthwiseConv2D"),
    )
    y = models.add_fully_connected(
        graph,
        y,
        rng.integers(-127, 128, (5, 8)),
        name="third",
        output_scale=1.2,
        keep_num_dims=True,
        **options("AccqFullyConnected", keep_num_dims=1),
    )
    return graph.build([x], [y])


def _invoke(interpreter: Any, x: np.ndarray) -> np.ndarray:
    (detail,) = interpreter.get_input_details()
    if tuple(detail["shape"]) != x.shape:
        interpreter.resize_tensor_input(detail["index"], x.shape)
        interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _image(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-128, 128, shape).astype(np.int8)


class TestDelegatePath:
    def test_names_a_file(self) -> None:
        assert Path(runtime.delegate_path()).is_file()

    def test_the_variable_must_name_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACCQ_DELEGATE", "/nowhere/libx.so")
        with pytest.raises(DelegateError, match=r"ACCQ_DELEGATE names '/nowhere/libx.so'"):
            runtime.delegate_path()

    def test_says_why_it_was_not_built(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("ACCQ_DELEGATE", raising=False)
        monkeypatch.setattr(runtime, "_LIBRARY", tmp_path / "lib.so")
        monkeypatch.setattr(runtime, "_NOT_BUILT", tmp_path / "not_built.txt")
        with pytest.raises(DelegateError, match=r"no C\+\+17 compiler or no CMake when"):
            runtime.delegate_path()
        (tmp_path / "not_built.txt").write_text("missing: a hammer\n")
        with pytest.raises(DelegateError, match=r"missing: a hammer\. Install what is missing"):
            runtime.Interpreter(model_content=_conv(np.random.default_rng(0)))
        (tmp_path / "lib.so").write_bytes(b"")
        assert runtime.delegate_path() == str(tmp_path / "lib.so")


@pytest.mark.skipif(not shutil.which("nm"), reason="needs nm")
def test_the_library_exports_two_functions_and_nothing_else() -> None:
    command = ["nm", "-D", "--defined-only", runtime.delegate_path()]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert sorted(line.split()[-1] for line in listed.splitlines()) == [
        "tflite_plugin_create_delegate",
        "tflite_plugin_destroy_delegate",
    ]


class TestLoadDelegate:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"speed": 11}, 'unknown option "speed"'),
            ({"kernel": "best"}, 'there is no "best"; this build has: .*reference'),
            ({"report_path": "/nowhere/report"}, '"/nowhere/report" can not be opened'),
            ({"verbose": 3}, 'expected 0 or 1, got "3"'),
        ],
    )
    def test_bad_options(self, options: dict[str, object], text: str) -> None:
        with pytest.raises(DelegateError, match=text):
            runtime.load_delegate(options)

    def test_a_file_that_is_no_library(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "x.so").write_text("no library")
        monkeypatch.setenv("ACCQ_DELEGATE", str(tmp_path / "x.so"))
        with pytest.raises(DelegateError, match=r"can not be loaded: .*x\.so"):
            runtime.load_delegate()

    def test_a_library_that_is_no_delegate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import _ctypes

        monkeypatch.setenv("ACCQ_DELEGATE", _ctypes.__file__)
        with pytest.raises(DelegateError, match="is no TFLite delegate"):
            runtime.load_delegate()

    def test_verbose_goes_to_standard_error(self, capfd: pytest.CaptureFixture[str]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        data = _conv(np.random.default_rng(0))
        delegate = runtime.load_delegate({"verbose": True})
        Interpreter(model_content=data, experimental_delegates=[delegate]).allocate_tensors()
        assert 'keras-accq: {"op": "AccqConv2D"' in capfd.readouterr().err


class TestInterpreter:
    def test_runs_the_contract(self) -> None:
        rng = np.random.default_rng(1)
        x = _image(rng, (1, 8, 8, 3))
        (expected,) = models.run(_chain(np.random.default_rng(2), custom=False), x)
        interpreter = runtime.Interpreter(model_content=_chain(np.random.default_rng(2)))
        interpreter.allocate_tensors()
        np.testing.assert_array_equal(_invoke(interpreter, x), expected)

    def test_counts_and_names(self, tmp_path: Path) -> None:
        path = tmp_path / "chain.tflite"
        path.write_bytes(_chain(np.random.default_rng(2)))
        for given in (path, str(path)):
            interpreter = runtime.Interpreter(given)
            assert interpreter.delegated_nodes == 3
            assert [(n.subgraph, n.index, n.op, n.name) for n in interpreter.accq_nodes] == [
                (0, 0, "AccqConv2D", "first"),
                (0, 1, "AccqDepthwiseConv2D", "second"),
                (0, 2, "AccqFullyConnected", "third"),
            ]
            assert repr(interpreter) == (
                f"<keras_accq.Interpreter of {path}: the delegate runs 3 of 3 keras-accq operators>"
            )

    def test_each_interpreter_counts_its_own(self) -> None:
        data = _chain(np.random.default_rng(2))
        first = runtime.Interpreter(model_content=data)
        second = runtime.Interpreter(model_content=_conv(np.random.default_rng(2)))
        assert (first.delegated_nodes, second.delegated_nodes) == (3, 1)
        del second
        gc.collect()
        assert first.delegated_nodes == 3

    def test_a_file_of_built_ins_runs_too(self) -> None:
        interpreter = runtime.Interpreter(model_content=_conv(np.random.default_rng(0), False))
        interpreter.allocate_tensors()
        assert interpreter.delegated_nodes == 0
        assert interpreter.accq_nodes == ()
        assert "0 of 0" in repr(interpreter)

    def test_the_delegate_lives_as_long(self) -> None:
        rng = np.random.default_rng(0)
        interpreter = runtime.Interpreter(model_content=_conv(rng))
        interpreter.allocate_tensors()
        gc.collect()
        junk = [bytes(1000) for _ in range(1000)]  # over memory that was freed too early
        assert interpreter.delegated_nodes == 1
        assert _invoke(interpreter, _image(rng, (1, 7, 7, 4))).shape == (1, 7, 7, 6)
        del junk

    def test_takes_the_runtimes_own_arguments(self) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        data = _conv(np.random.default_rng(0))
        interpreter = runtime.Interpreter(
            model_content=data,
            num_threads=2,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_delegates=[runtime.load_delegate()],
        )
        assert isinstance(interpreter, Interpreter)
        interpreter.allocate_tensors()
        assert interpreter.delegated_nodes == 1  # ours, not the other one

    def test_kernel_and_report(self, tmp_path: Path) -> None:
        report = tmp_path / "report.jsonl"
        interpreter = runtime.Interpreter(
            model_content=_chain(np.random.default_rng(2)), kernel="reference", report_path=report
        )
        interpreter.allocate_tensors()
        interpreter.resize_tensor_input(0, [2, 8, 8, 3])
        interpreter.allocate_tensors()
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        assert [line["output"] for line in lines] == ["first", "second", "third"] * 2
        assert lines[3] == {
            "op": "AccqConv2D",
            "output": "first",
            "node": 0,
            "input_shape": [2, 8, 8, 3],
            "output_shape": [2, 4, 4, 8],
            "kernel": "reference",
            "steps": lines[3]["steps"],
            "spills": lines[3]["spills"],
            "extra_steps": lines[3]["extra_steps"],
            "int32_steps": 0,
            "packed_bytes": lines[3]["packed_bytes"],
            "scratch_bytes": 0,
            "threads": 1,
            "macs": 2 * 4 * 4 * 8 * 27,
        }

    def test_bad_kernel(self) -> None:
        with pytest.raises(DelegateError, match='there is no "fast"'):
            runtime.Interpreter(model_content=_conv(np.random.default_rng(0)), kernel="fast")

    @pytest.mark.parametrize(
        "arguments", [{}, {"model_path": "a", "model_content": b"b"}], ids=["neither", "both"]
    )
    def test_needs_one_model(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="exactly one of model_path and model_content"):
            runtime.Interpreter(**arguments)

    def test_bad_files(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidFileError):
            runtime.Interpreter(model_content=b"")
        with pytest.raises(InvalidFileError):
            runtime.Interpreter(model_content=_conv(np.random.default_rng(0))[:100])
        with pytest.raises(FileNotFoundError):
            runtime.Interpreter(tmp_path / "missing.tflite")

    def test_a_count_that_is_off_names_the_operators(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtime.Interpreter, "delegated_nodes", 2)
        with pytest.raises(DelegateError, match=r"took 2 of the 3 .* AccqConv2D 'first', Accq"):
            runtime.Interpreter(model_content=_chain(np.random.default_rng(2)))

    def test_another_library_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtime, "_MAGIC", b"ACCQDLG0")
        with pytest.raises(DelegateError, match="is not the delegate of this keras-accq"):
            runtime.Interpreter(model_content=_conv(np.random.default_rng(0)))

    def test_a_refused_model_names_the_operator(self) -> None:
        data = models.conv2d(
            np.ones((2, 1, 1, 4)), (1, 3, 3, 4), name="färbung", custom_options=b"\x01\x02\x03"
        )
        with pytest.raises(DelegateError, match=r'AccqConv2D \(node 0, output "färbung"\): the op'):
            runtime.Interpreter(model_content=data)

    def test_a_shape_that_does_not_suit(self) -> None:
        interpreter = runtime.Interpreter(model_content=_conv(np.random.default_rng(0)))
        interpreter.resize_tensor_input(0, [1, 7, 7, 5])
        with pytest.raises(DelegateError, match=r"shape \[1, 7, 7, 5\], not .*, 4\]"):
            interpreter.allocate_tensors()
        interpreter.resize_tensor_input(0, [1, 9, 7, 4])
        interpreter.allocate_tensors()
        interpreter.invoke()


class TestResize:
    def test_batch_and_space_like_stock(self) -> None:
        rng = np.random.default_rng(3)
        data, stock = (_chain(np.random.default_rng(4), custom) for custom in (True, False))
        for kernel in (None, "reference"):
            interpreter = runtime.Interpreter(model_content=data, kernel=kernel)
            interpreter.allocate_tensors()
            for shape in [(1, 8, 8, 3), (5, 8, 8, 3), (1, 31, 17, 3), (2, 1, 2, 3), (1, 8, 8, 3)]:
                x = _image(rng, shape)
                np.testing.assert_array_equal(_invoke(interpreter, x), models.run(stock, x)[0])

    def test_shapes_known_only_at_run_time(self) -> None:
        """RESHAPE by a tensor: its output is dynamic, and so is our input."""
        rng = np.random.default_rng(5)
        weights = rng.integers(-127, 128, (6, 3, 3, 4))

        graph = models.GraphBuilder()
        x = graph.tensor("input", [1, 144], scale=0.05)
        shape = graph.tensor("shape", [4], dtype=np.int32)
        image = graph.tensor("image", [1, 6, 6, 4], scale=0.05)
        graph.op(models.Op.RESHAPE, [x, shape], [image])
        y = models.add_conv2d(
            graph, image, weights, output_scale=0.5, custom_options=_blob("AccqConv2D")
        )
        interpreter = runtime.Interpreter(model_content=graph.build([x, shape], [y]))
        interpreter.allocate_tensors()
        for sizes in ([1, 6, 6, 4], [4, 3, 3, 4], [1, 36, 1, 4]):
            values = (_image(rng, (1, 144)), np.array(sizes, np.int32))
            for detail, value in zip(interpreter.get_input_details(), values, strict=True):
                interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
            # Stock LiteRT would run a convolution behind a dynamic tensor outside XNNPACK, with
            # other roundings.
            stock = models.conv2d(weights, sizes, output_scale=0.5)
            (expected,) = models.run(stock, values[0].reshape(sizes))
            np.testing.assert_array_equal(got, expected)
        interpreter.set_tensor(interpreter.get_input_details()[1]["index"], np.int32([1, 6, 3, 8]))
        with pytest.raises(RuntimeError, match=r"keras-accq: AccqConv2D .* \[1, 6, 3, 8\]"):
            interpreter.invoke()


def test_subgraphs_of_control_flow() -> None:
    """IF with a convolution in each branch: both are taken, the right one runs."""
    rng = np.random.default_rng(12)
    weights = [rng.integers(-127, 128, (6, 3, 3, 4)) for _ in range(2)]
    branches = [
        models.unpack(
            models.conv2d(w, (1, 5, 5, 4), custom_options=_blob("AccqConv2D"), name=f"branch{i}")
        )
        for i, w in enumerate(weights)
    ]
    graph = models.GraphBuilder()
    condition = graph.tensor("condition", [1], dtype=np.int8)
    condition_tensor = graph.subgraph.tensors[condition]
    condition_tensor.type = schema.TensorType.BOOL
    x = graph.tensor("x", [1, 5, 5, 4], scale=0.05)
    y = graph.tensor("y", [1, 5, 5, 6], scale=0.1)
    choice = schema.IfOptionsT(thenSubgraphIndex=1, elseSubgraphIndex=2)
    graph.op(models.Op.IF, [condition, x], [y], options=choice)
    graph.model.operatorCodes += branches[0].operatorCodes
    for branch in branches:
        (subgraph,) = branch.subgraphs
        for tensor in subgraph.tensors:
            if tensor.buffer:
                tensor.buffer += len(graph.model.buffers) - 1
        graph.model.buffers += branch.buffers[1:]
        subgraph.operators[0].opcodeIndex = 1
        graph.model.subgraphs.append(subgraph)
    interpreter = runtime.Interpreter(model_content=graph.build([condition, x], [y]))
    assert interpreter.delegated_nodes == 2
    assert [(n.subgraph, n.name) for n in interpreter.accq_nodes] == [
        (1, "branch0"),
        (2, "branch1"),
    ]
    interpreter.allocate_tensors()
    image = _image(rng, (1, 5, 5, 4))
    for value, w in zip((True, False), weights, strict=True):
        for detail, data in zip(
            interpreter.get_input_details(), (np.array([value]), image), strict=True
        ):
            interpreter.set_tensor(detail["index"], data)
        interpreter.invoke()
        got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_array_equal(got, models.run(models.conv2d(w, (1, 5, 5, 4)), image)[0])


@pytest.mark.skipif("ACCQ_RESNET8_INT8" not in os.environ, reason="needs the int8 ResNet-8 file")
def test_a_real_network() -> None:
    """MLPerf Tiny's int8 ResNet-8: every output of the rewritten file is stock LiteRT's."""
    from ai_edge_litert.interpreter import Interpreter

    from keras_accq import rewrite

    path = os.environ["ACCQ_RESNET8_INT8"]
    report = rewrite(path)
    ours, stock = runtime.Interpreter(model_content=report.model), Interpreter(model_path=path)
    assert ours.delegated_nodes == len(report.taken) == 10
    rng = np.random.default_rng(13)
    for interpreter in (ours, stock):
        interpreter.allocate_tensors()
    (detail,) = stock.get_input_details()
    for _ in range(200):
        x = _image(rng, tuple(detail["shape"]))
        np.testing.assert_array_equal(_invoke(ours, x), _invoke(stock, x))


class TestOtherRuntimes:
    def test_stock_litert_says_that_the_op_is_unknown(self) -> None:
        with pytest.raises(RuntimeError, match="unresolved custom op: AccqConv2D"):
            models.run(_conv(np.random.default_rng(0)), np.zeros((1, 7, 7, 4), np.int8))

    def test_one_delegate_for_two_litert_interpreters(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        rng = np.random.default_rng(6)
        delegate = runtime.load_delegate()
        pairs = [(_conv, (1, 7, 7, 4)), (_chain, (1, 8, 8, 3))]
        interpreters = [
            Interpreter(
                model_content=make(np.random.default_rng(7)), experimental_delegates=[delegate]
            )
            for make, _ in pairs
        ]
        for interpreter, (make, shape) in zip(interpreters, pairs, strict=True):
            interpreter.allocate_tensors()
            x = _image(rng, shape)
            (expected,) = models.run(make(np.random.default_rng(7), custom=False), x)
            np.testing.assert_array_equal(_invoke(interpreter, x), expected)

    @pytest.mark.slow  # imports TensorFlow
    def test_tf_lite(self) -> None:
        tf = pytest.importorskip("tensorflow")
        rng = np.random.default_rng(8)
        delegate = tf.lite.experimental.load_delegate(
            runtime.delegate_path(), {"kernel": "reference"}
        )
        interpreter = tf.lite.Interpreter(
            model_content=_chain(np.random.default_rng(9)), experimental_delegates=[delegate]
        )
        interpreter.allocate_tensors()
        x = _image(rng, (2, 9, 8, 3))
        (expected,) = models.run(_chain(np.random.default_rng(9), custom=False), x)
        np.testing.assert_array_equal(_invoke(interpreter, x), expected)
        with pytest.raises(ValueError, match='unknown option "speed"'):
            tf.lite.experimental.load_delegate(runtime.delegate_path(), {"speed": 1})
        bad = models.conv2d(np.ones((2, 1, 1, 4)), (1, 3, 3, 4), custom_options=b"\x01\x02\x03")
        with pytest.raises(RuntimeError, match=r"the options .* are not a FlexBuffer map"):
            tf.lite.Interpreter(model_content=bad, experimental_delegates=[delegate])


def test_threads() -> None:
    """Different models and shapes at once, each thread with its own interpreters."""
    shapes = [(1, 8, 8), (3, 5, 9), (1, 20, 20), (2, 8, 8)]
    jobs = []
    for seed in range(4):
        make, channels = ((_conv, 4), (_chain, 3))[seed % 2]
        xs = [_image(np.random.default_rng(seed), (*shape, channels)) for shape in shapes]
        stock = make(np.random.default_rng(seed), custom=False)
        data = make(np.random.default_rng(seed))
        jobs.append((data, xs, [models.run(stock, x)[0] for x in xs]))
    failures: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def work(data: bytes, xs: list[np.ndarray], expected: list[np.ndarray]) -> None:
        try:
            start.wait()
            for _ in range(10):
                interpreter = runtime.Interpreter(model_content=data)
                interpreter.allocate_tensors()
                for x, y in zip(xs, expected, strict=True):
                    np.testing.assert_array_equal(_invoke(interpreter, x), y)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


class TestMalformed:
    """C++ tests in tflite_kernels/tests/delegate walk every single check; here the real runtime."""

    def test_each_change_gives_a_text(self) -> None:
        import malformed_models

        for name, data, text in malformed_models.cases():
            message = malformed_models.outcome(data)
            assert message is not None, f"{name} was taken"
            assert text in message, f"{name}: {message}"

    def test_the_delegate_and_python_agree_on_options(self) -> None:
        import malformed_models

        taken = 0
        for blob, data in malformed_models.mutated_options(np.random.default_rng(10), 1500):
            try:
                op_options.decode("AccqConv2D", blob)
                readable = True
            except InvalidFileError:
                readable = False
            message = malformed_models.outcome(data)
            assert (message is None or "option" not in message) == readable, (blob, message)
            taken += message is None
        assert taken > 10

    @pytest.mark.slow
    def test_a_sweep_in_a_process_of_its_own(self) -> None:
        """Random changes of several fields at once: text or success, never a crash."""
        done = subprocess.run(
            [sys.executable, str(_TESTS / "malformed_models.py"), "3000"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.splitlines()[-1] == "3000 models"
