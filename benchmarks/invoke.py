"""Runs a `.tflite` file some number of times on random inputs, for instructions.py.

python benchmarks/invoke.py MODEL stock|chosen|KERNEL COUNT REPORT
"""

import sys

import numpy as np

from keras_accq import Interpreter
from keras_accq.runtime import litert


def main() -> None:
    path, kernel, count, report = sys.argv[1:]
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
    for _ in range(int(count)):
        interpreter.invoke()


if __name__ == "__main__":
    main()
