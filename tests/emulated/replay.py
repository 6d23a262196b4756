"""Runs the files of `cases.py` here and compares the outputs, byte for byte.

    python tests/emulated/replay.py CASES.npz KERNEL ...

Each file runs in the stock runtime, and with our operators by the kernels chosen for this CPU and
by the reference, in one thread and in two. It is rewritten and certified here as well, which must
give the same bytes and the same text. Prints which kernels ran; the exit status is 1 after any
difference, and when a KERNEL did not run. The runtime's own outputs may be a step away where it is
`tflite_runtime`, which is older than LiteRT 2 and rounds otherwise; ours may not.
"""

import collections
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_accq import Interpreter, rewrite, verify
from keras_accq.runtime import litert

_STOCK = litert.__name__.split(".")[0]
# By how much its outputs of built-in operators may differ from LiteRT 2's.
_STEPS = {"ai_edge_litert": 0, "tflite_runtime": 1}[_STOCK]


def outputs(interpreter, inputs: np.ndarray) -> np.ndarray:
    interpreter.allocate_tensors()
    results = []
    for x in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(results)


def differences(case: dict[str, np.ndarray], report: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Who ran, and by how much each output differs from what it should be."""
    builtin, custom = (case[kind].tobytes() for kind in ("builtin", "custom"))

    def ours(**options) -> np.ndarray:
        return outputs(Interpreter(model_content=custom, **options), case["inputs"])

    expected, reference = case["outputs"].astype(int), ours(kernel="reference")
    if case["ours"] or not _STEPS:
        yield "reference", reference - expected
    else:  # what the runtime computes between our operators may be a step away
        expected = reference.astype(int)
    yield "ours", ours(report_path=report) - expected
    yield "ours, 2 threads", ours(num_threads=2) - expected
    if case["stock"] and (case["single"] or not _STEPS):
        stock = litert.Interpreter(model_content=builtin, num_threads=1)
        yield _STOCK, outputs(stock, case["inputs"]) - expected


def main() -> int:
    arrays = np.load(sys.argv[1])
    cases: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
    for key in arrays:
        name, field = key.split("/")
        cases[name][field] = arrays[key]
    failures = steps_off = 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        for name, case in cases.items():
            custom, certificate = case["custom"].tobytes(), case["certificate"].tobytes().decode()
            for what, same in (
                ("rewrite", rewrite(case["builtin"].tobytes()).model == custom),
                ("verify", str(verify(custom)) == certificate),
            ):
                if not same:
                    print(f"{name}: {what} gives something else here")
                    failures += 1
            for who, difference in differences(case, report):
                count = np.count_nonzero(difference)
                steps_off += count if who == _STOCK else 0
                if np.abs(difference).max() > (_STEPS if who == _STOCK else 0):
                    print(f"{name}, {who}: {count} of {difference.size} outputs differ")
                    failures += 1
        lines = map(json.loads, report.read_text().splitlines())
        kernels = collections.Counter(line["kernel"] for line in lines)
    listed = ", ".join(f"{kernel} {count}" for kernel, count in sorted(kernels.items()))
    print(f"{len(cases)} files, layers by kernel: {listed}; {failures} failures")
    for kernel in set(sys.argv[2:]) - set(kernels):
        print(f"no layer was run by {kernel}, which is the one for this CPU")
        failures += 1
    if _STEPS:
        print(f"{_STOCK}'s own layers: {steps_off} outputs are a step away from LiteRT 2's")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
