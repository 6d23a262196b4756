"""Holds a rewritten file against the original, output for output, on CIFAR-10's test images.

    python benchmarks/lossless_identity.py int8.tflite cifar10.npz

`cifar10.npz` has x_test (uint8 images) and y_test. The exit status is 1 if any output differs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import keras_accq as accq


def outputs(interpreter, images: np.ndarray) -> np.ndarray:
    """The stored outputs for uint8 images, one at a time."""
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    stored = np.clip(np.rint(images / scale) + zero_point, -128, 127).astype(np.int8)
    found = []
    for image in stored:
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"])[0])
    return np.array(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="int8 .tflite file for images in 0..255")
    parser.add_argument("data", type=Path, help=".npz file with x_test and y_test")
    options = parser.parse_args()
    with np.load(options.data) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"].reshape(-1)
    report = accq.rewrite(options.model)
    ours = accq.Interpreter(model_content=report.model, num_threads=1)
    print(f"{options.model.name}: {len(report.taken)} operators taken, {len(report.kept)} kept")
    stock = outputs(Interpreter(str(options.model), num_threads=1), images)
    results = outputs(ours, images)
    same = int(np.sum((stock == results).all(axis=1)))
    right = float(np.mean(results.argmax(axis=1) == labels))
    print(f"{same} of {len(images)} outputs identical to stock LiteRT's; {right:.2%} right")
    return int(same != len(images))


if __name__ == "__main__":
    sys.exit(main())
