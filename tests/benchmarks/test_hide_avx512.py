import platform
import signal
import subprocess
import sys

import numpy as np
import pytest
import tflite_models
from native_build import REPOSITORY

pytestmark = [
    pytest.mark.slow,  # disassembles LiteRT
    pytest.mark.skipif(
        platform.machine() != "x86_64" or not (REPOSITORY / "benchmarks").is_dir(),
        reason="needs an x86-64 checkout",
    ),
]

_RUN = """
import os, signal, sys
import numpy as np
sys.path[:0] = [{benchmarks!r}, {tests!r}]
from hide_avx512 import hide_avx512
hidden = hide_avx512()
assert hidden.sites > 0, hidden.libraries
assert hidden.answers == 0
import tflite_models
outputs = tflite_models.run(open({model!r}, "rb").read(), np.load({inputs!r}))
assert hidden.answers > 0
np.save({outputs!r}, outputs[0])
os.kill(os.getpid(), signal.SIGTRAP)  # somebody else's trap must do what it always does
"""


def test_litert_asks_gets_the_reduced_answer_and_computes_the_same(tmp_path):
    rng = np.random.default_rng(1)
    model = tflite_models.residual(rng, size=12, channels=24)
    (tmp_path / "model.tflite").write_bytes(model)
    inputs = rng.integers(-128, 128, (1, 12, 12, 24), np.int8)
    np.save(tmp_path / "inputs.npy", inputs)
    code = _RUN.format(
        benchmarks=str(REPOSITORY / "benchmarks"),
        tests=str(REPOSITORY / "tests"),
        model=str(tmp_path / "model.tflite"),
        inputs=str(tmp_path / "inputs.npy"),
        outputs=str(tmp_path / "outputs.npy"),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGTRAP, done.stderr
    expected = tflite_models.run(model, inputs)[0]
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), expected)


_CLAIM = """
import sys
import numpy as np
sys.path[:0] = [{benchmarks!r}, {tests!r}]
from hide_avx512 import hide_avx512
hide_avx512()
import keras_accq, tflite_models
rng = np.random.default_rng(1)
def taken(model):
    print(keras_accq.Interpreter(model_content=model, claim="builtin").delegated_builtins)
for rows, outputs, inputs in ((1, 10, 64), (60, 10, 64), (1, 512, 512), (1, 3000, 3000)):
    weights = rng.integers(-99, 99, (outputs, inputs))
    taken(tflite_models.fully_connected(weights, (rows, inputs), output_scale=9.0))
for size in (1, 8):
    weights = rng.integers(-99, 99, (10, 1, 1, 64))
    taken(tflite_models.conv2d(weights, (1, size, size, 64), output_scale=9.0))
"""


def test_what_pays_without_dot_products(delegate_library):
    """Neither layers that are over before their call nor dense ones that wait for memory."""
    code = _CLAIM.format(benchmarks=str(REPOSITORY / "benchmarks"), tests=str(REPOSITORY / "tests"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "1", "1", "0", "0", "1"]
