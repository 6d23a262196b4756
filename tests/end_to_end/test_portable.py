"""Files of built-ins with their certificate: the same outputs in every runtime, delegate or not."""

import os
import subprocess
import sys

import native_build
import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert.interpreter import Interpreter as Stock

import keras_accq as accq
from keras_accq.tflite.fuse import Constraint

pytestmark = pytest.mark.usefixtures("delegate_library")
_RNG = np.random.default_rng(5)
_IMAGES = _RNG.integers(-128, 128, (4, 1, 10, 10, 6)).astype(np.int8)


def _portable(*layers: tuple[str, float]) -> bytes:
    """Layers with a clamped operand and a claim that holds, each with the scale of its outputs."""
    graph = models.GraphBuilder()

    def weights(*shape: int) -> np.ndarray:
        return _RNG.integers(-2, 3, shape)

    x = y = graph.tensor("input", [1, 10, 10, 6], scale=0.05, zero_point=-4)
    channels = 6
    for name, scale in layers:
        numbers = {"name": name, "output_scale": scale}
        if name == "conv":
            y = models.add_conv2d(
                graph,
                y,
                weights(8, 3, 3, channels),
                activation=models.RELU,
                weight_scale=_RNG.uniform(0.005, 0.02, 8),
                bias=_RNG.integers(-50, 50, 8),
                **numbers,
            )
            channels = 8
        elif name == "depthwise":
            y = models.add_depthwise_conv2d(graph, y, weights(1, 3, 3, channels), **numbers)
        else:
            y = models.add_fully_connected(
                graph, y, weights(5, channels), keep_num_dims=True, **numbers
            )
    data = graph.build([x], [y])
    claim = Constraint(16, accq.Partition(), in_min=-64, in_max=63)
    claims = {op.name: claim for op in accq.verify(data).ops}
    return accq.rewrite(data, ops="builtin", constraints=claims).model


_NETWORK = (("conv", 0.02), ("depthwise", 5e-4), ("dense", 1e-5))
_SINGLE = [(("conv", 0.02),), (("depthwise", 2e-3),), (("dense", 2e-3),)]


def _outputs(interpreter) -> np.ndarray:
    interpreter.allocate_tensors()
    results = []
    for image in _IMAGES:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(results)


def test_with_and_without_the_delegate_in_litert():
    data = _portable(*_NETWORK)
    certificate = accq.verify(data)
    assert certificate.verdict == "P = 16 monolithic: all 3 ops"
    assert not any(op.custom for op in certificate.ops)
    stock = _outputs(Stock(model_content=data))
    assert len(np.unique(stock)) > 20
    # A kernel is named so that all layers are taken, whether or not this CPU gains by it.
    for kernel, taken in ((None, None), ("reference", 3)):
        ours = accq.Interpreter(model_content=data, claim="builtin", kernel=kernel)
        np.testing.assert_array_equal(_outputs(ours), stock)
        assert taken in (None, ours.delegated_builtins)
    custom = accq.Interpreter(model_content=accq.rewrite(data).model)
    np.testing.assert_array_equal(_outputs(custom), stock)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated.*")
def test_with_and_without_the_delegate_in_tensorflow(delegate_library):
    import tensorflow as tf

    data = _portable(*_NETWORK)
    expected = _outputs(Stock(model_content=data))
    np.testing.assert_array_equal(_outputs(tf.lite.Interpreter(model_content=data)), expected)
    options = {"claim": "builtin", "kernel": "reference"}
    delegate = tf.lite.experimental.load_delegate(accq.delegate_path(), options)
    ours = tf.lite.Interpreter(model_content=data, experimental_delegates=[delegate])
    np.testing.assert_array_equal(_outputs(ours), expected)


# The last release under that name, which needs NumPy 1.
_OLD = ("tflite-runtime==2.14.0", "numpy==1.26.4")
_IN_THE_OLD_RUNTIME = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter, load_delegate

model, images, delegate, outputs = sys.argv[1:]
def run(**options):
    interpreter = Interpreter(model_path=model, **options)
    interpreter.allocate_tensors()
    for image in np.load(images):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        yield interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
options = {"claim": "builtin", "kernel": "reference"}
ours = load_delegate(delegate, options)
np.savez(outputs, stock=list(run()), ours=list(run(experimental_delegates=[ours])))
"""


@pytest.fixture(scope="module")
def old_runtime():
    """A folder with tflite-runtime in it, kept for the next run."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and later")
    folder = native_build.cache_folder() / "tflite-runtime"
    if not (folder / "tflite_runtime").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        command = [*pip, str(folder), "--only-binary=:all:", *_OLD]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            outcome = pytest.fail if os.environ.get("CI") else pytest.skip
            outcome(f"{' and '.join(_OLD)} can not be installed:\n{done.stderr[-1000:]}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers", [_NETWORK, *_SINGLE], ids=["network", "conv", "depthwise", "dense"]
)
def test_with_and_without_the_delegate_in_tflite_runtime(old_runtime, tmp_path, layers):
    """Its own kernels round otherwise, by a step per layer; ours are the same everywhere."""
    data = _portable(*layers)
    expected = _outputs(Stock(model_content=data))
    assert len(np.unique(expected)) > 20
    (tmp_path / "model.tflite").write_bytes(data)
    np.save(tmp_path / "images.npy", _IMAGES)
    files = [tmp_path / name for name in ("model.tflite", "images.npy")]
    subprocess.run(
        [sys.executable, "-c", _IN_THE_OLD_RUNTIME, *files, accq.delegate_path(), "outputs.npz"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(old_runtime)},
        check=True,
    )
    outputs = np.load(tmp_path / "outputs.npz")
    np.testing.assert_array_equal(outputs["ours"], expected)
    away = np.abs(outputs["stock"].astype(int) - expected)
    # Through a network the steps add up.
    assert away.max() == 1 if layers in _SINGLE else away.max() >= 1
