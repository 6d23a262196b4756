"""Instructions per multiply-accumulate on emulated ARM cores: the stock runtime and ours.

    python benchmarks/instructions.py model.tflite [--cores cortex-a53,cortex-a76]
    python benchmarks/instructions.py --synthetic 3x3x96x96x32x32 --constrained
    python benchmarks/instructions.py --synthetic 3x3x96x96x32x32 --architecture armv7

LiteRT on 64-bit ARM, tflite-runtime, which is older, on 32-bit ARM.

Whole interpreters run in qemu-user with a plugin that counts (count_instructions.c); the
difference of a run with three invocations and one with a single one is exact, and the same every
time. The multiply-accumulates are those of the layers that have kernels of ours; everything that
runs is counted, other operators too. Counts are no times: cores differ in what an instruction
costs. Needs what the stages `aarch64` and `armv7` of tests/run_all.py need; `--sysroot` or
ACCQ_SYSROOT names the folder that keeps the emulated Pythons, `--delegate` an ARM build of the
delegate, which is built otherwise.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_accq import rewrite

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from emulated import sysroot
from native_build import REPOSITORY, SOURCES, build, cache_folder, find

_INVOKE = Path(__file__).with_name("invoke.py")
_RUNS = (1, 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a .tflite file of built-in operators")
    parser.add_argument("--synthetic", metavar="KHxKWxCINxCOUTxHxW", help="one such convolution")
    parser.add_argument("--constrained", action="store_true", help="its weights fit 16 bits")
    parser.add_argument("--architecture", choices=sysroot.ARCHITECTURES, default="aarch64")
    parser.add_argument("--cores", help="of the architecture, with commas between; all if left out")
    parser.add_argument("--kernels", default="", help="of ours, besides the one chosen")
    parser.add_argument("--sysroot", type=Path, default=os.environ.get("ACCQ_SYSROOT"))
    parser.add_argument("--delegate", type=Path)
    arguments = parser.parse_args()
    if bool(arguments.model) == bool(arguments.synthetic):
        parser.error("expected a model or --synthetic")
    if arguments.synthetic:
        from synthetic import convolution

        data = convolution(
            arguments.synthetic, weights="constrained" if arguments.constrained else "normal"
        )
    else:
        data = arguments.model.read_bytes()
    architecture = sysroot.ARCHITECTURES[arguments.architecture]
    cores = arguments.cores.split(",") if arguments.cores else list(architecture.cores)
    if not set(cores) <= set(architecture.cores):
        parser.error(f"expected cores out of {', '.join(architecture.cores)}; got {cores}")
    root = sysroot.prepare(Path(arguments.sysroot or cache_folder()), architecture)
    delegate = arguments.delegate or _arm_delegate(architecture)
    runtime = f"stock {architecture.runtime}"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        counter = Counter(root, delegate, work)
        stock, ours = work / "builtin.tflite", work / "custom.tflite"
        rewrite(data, stock, ops="builtin")
        rewrite(data, ours)
        kernels = ["", *filter(None, arguments.kernels.split(","))]
        print("Emulated: instructions per multiply-accumulate, whole interpreter, one thread")
        for core in cores:
            for kernel in kernels:
                count, lines = counter.count(core, ours, kernel or "chosen")
                macs = sum(line["macs"] for line in lines)
                names = "+".join(sorted({line["kernel"] for line in lines}))
                steps, spills = (sum(line[k] for line in lines) for k in ("steps", "spills"))
                print(f"{core:12} {names:24} {count / macs:.4f}  {steps} steps, {spills} spills")
            count, _ = counter.count(core, stock, "stock")
            print(f"{core:12} {runtime:24} {count / macs:.4f}", flush=True)
    return 0


def _arm_delegate(architecture: sysroot.Architecture) -> Path:
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={SOURCES}/cmake/linux-{architecture.name}.cmake"
    folder = build(f"{architecture.name}-release", [toolchain], ["accq_delegate"])
    return find(folder, "libaccq_delegate.so")


class Counter:
    """Counts the instructions of one invocation."""

    def __init__(self, root: sysroot.Sysroot, delegate: Path, work: Path) -> None:
        self._root, self._delegate, self._work = root, delegate, work
        self._plugin = work / "libcount_instructions.so"
        source = SOURCES / "bench/count_instructions.c"
        compiler = ["gcc", "-shared", "-fPIC", "-O2", str(source), "-o", str(self._plugin)]
        subprocess.run(compiler, check=True)

    def count(self, core: str, model: Path, kernel: str) -> tuple[int, list[dict]]:
        """Instructions of an invocation, and the delegate's report if it took part.

        Args:
            core: One of the architecture's.
            model: The file.
            kernel: "stock", "chosen", or the name of a kernel of ours.
        """
        report = self._work / "report.jsonl"
        report.write_text("")
        totals = []
        for invocations in _RUNS:
            arguments = [str(_INVOKE), str(model), kernel, str(invocations), str(report)]
            totals.append(self._run(core, arguments))
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        difference = (totals[1] - totals[0]) // (_RUNS[1] - _RUNS[0])
        return difference, lines[: len(lines) // len(_RUNS)]

    def _run(self, core: str, arguments: Sequence[str]) -> int:
        out = self._work / "instructions.txt"
        environment = {
            "ACCQ_DELEGATE": str(self._delegate.resolve()),
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(REPOSITORY),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        plugin = ("-plugin", f"{self._plugin},out={out}")
        command = self._root.command(core, arguments, environment, *plugin)
        done = subprocess.run(command, text=True, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return int(out.read_text())


if __name__ == "__main__":
    sys.exit(main())
