"""Runs `.tflite` files on random inputs, each between two calls of getppid, for instructions.py.

    python benchmarks/invoke.py REPORT MODEL KERNEL [MODEL KERNEL ...]

KERNEL is "stock", "chosen" or the name of one of ours. Each has run once before, so that what is
done only the first time does not count.
"""

import os
import sys

import numpy as np

from keras_accq import Interpreter
from keras_accq.runtime import litert


def prepared(path: str, kernel: str, report: str):
    """An interpreter of the file that has run."""
    if kernel == "stock":
        interpreter = litert.Interpreter(model_path=path, num_threads=1)
    else:
        name = None if kernel == "chosen" else kernel
        interpreter = Interpreter(path, num_threads=1, kernel=name, report_path=report)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        value = rng.integers(-128, 128, detail["shape"]).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter


def main() -> None:
    report, *jobs = sys.argv[1:]
    for path, kernel in zip(jobs[::2], jobs[1::2], strict=True):
        interpreter = prepared(path, kernel, report)
        os.getppid()
        interpreter.invoke()
        os.getppid()


if __name__ == "__main__":
    main()
