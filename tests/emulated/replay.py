"""Runs the files of `cases.py` here and compares the outputs, byte for byte.

    python tests/emulated/replay.py CASES.npz

Each file runs in stock LiteRT, and with our operators by the kernels chosen for this CPU and by the
reference, in one thread and in two. Prints which kernels ran; the exit status is 1 after any
difference.
"""

import collections
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter as Stock

from keras_accq import Interpreter


def outputs(interpreter, inputs: np.ndarray) -> np.ndarray:
    interpreter.allocate_tensors()
    results = []
    for x in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(results)


def main() -> int:
    cases = np.load(sys.argv[1])
    names = [key.removesuffix("/inputs") for key in cases if key.endswith("/inputs")]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        for name in names:
            builtin, custom = (cases[f"{name}/{kind}"].tobytes() for kind in ("builtin", "custom"))
            runs = {
                "ours": Interpreter(model_content=custom, report_path=report),
                "ours, 2 threads": Interpreter(model_content=custom, num_threads=2),
                "reference": Interpreter(model_content=custom, kernel="reference"),
            }
            if cases[f"{name}/stock"]:
                runs["stock LiteRT"] = Stock(model_content=builtin, num_threads=1)
            for who, interpreter in runs.items():
                got = outputs(interpreter, cases[f"{name}/inputs"])
                differing = np.count_nonzero(got != cases[f"{name}/outputs"])
                if differing:
                    print(f"{name}, {who}: {differing} of {got.size} outputs differ")
                    failures += 1
        lines = map(json.loads, report.read_text().splitlines())
        kernels = collections.Counter(line["kernel"] for line in lines)
    listed = ", ".join(f"{kernel} {count}" for kernel, count in sorted(kernels.items()))
    print(f"{len(names)} files, layers by kernel: {listed}; {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
