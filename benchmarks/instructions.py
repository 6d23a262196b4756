"""Instructions per multiply-accumulate on emulated ARM cores: the stock runtime and ours.

    python benchmarks/instructions.py model.tflite [--layers] [--cores cortex-a53,cortex-a76]
    python benchmarks/instructions.py --synthetic 3x3x96x96x32x32 --constrained
    python benchmarks/instructions.py --network mobilenet_v1
    python benchmarks/instructions.py --synthetic 3x3x96x96x32x32 --architecture armv7

LiteRT on 64-bit ARM, tflite-runtime, which is older, on 32-bit ARM.

Whole interpreters run in qemu-user with a plugin that counts (count_instructions.c): everything
that one invocation runs, exactly, and the same every time. The multiply-accumulates are those of
the layers that have kernels of ours. Counts are no times: cores differ in what an instruction
costs. So on 64-bit ARM each count has cycles beside it that llvm-mca models for the very
instructions that ran (modelled.py), where there is an llvm-mca: on a Cortex-A72 fewer instructions
need not be faster.

Needs what the stages `aarch64` and `armv7` of tests/run_all.py need; `--sysroot` or
ACCQ_SYSROOT names the folder that keeps the emulated Pythons, `--delegate` an ARM build of the
delegate, which is built otherwise.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import modelled

from keras_accq import rewrite
from keras_accq.bench.cut import cut_out
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from emulated import sysroot
from native_build import REPOSITORY, SOURCES, build, cache_folder, find

_INVOKE = Path(__file__).with_name("invoke.py")
_GETPPID = {"aarch64": 173, "armv7": 64}  # the system call's number


@dataclasses.dataclass(frozen=True)
class Case:
    """A file of built-in operators and how often it counts in the sum."""

    name: str
    model: bytes
    times: int = 1


@dataclasses.dataclass(frozen=True)
class Count:
    """What an invocation takes.

    Attributes:
        instructions: All that ran.
        cycles: Modelled; NaN without llvm-mca.
        inner: Multiply-accumulates per modelled cycle of the inner loops, for each model.
    """

    instructions: int
    cycles: float = float("nan")
    inner: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a .tflite file of built-in operators")
    parser.add_argument("--layers", action="store_true", help="each layer of the file by itself")
    parser.add_argument("--synthetic", metavar="KHxKWxCINxCOUTxHxW", help="one such convolution")
    parser.add_argument("--network", help="the layers' shapes of a network of networks.txt")
    parser.add_argument("--constrained", action="store_true", help="random weights fit 16 bits")
    parser.add_argument("--four-bits", action="store_true", help="so do random ones of 4 bits")
    parser.add_argument("--architecture", choices=sysroot.ARCHITECTURES, default="aarch64")
    parser.add_argument("--cores", help="of the architecture, with commas between; all if left out")
    parser.add_argument("--kernel", default="chosen", help="of ours, for all layers")
    parser.add_argument("--sysroot", type=Path, default=os.environ.get("ACCQ_SYSROOT"))
    parser.add_argument("--delegate", type=Path)
    arguments = parser.parse_args()
    if sum(map(bool, (arguments.model, arguments.synthetic, arguments.network))) != 1:
        parser.error("expected a model, --synthetic or --network")
    architecture = sysroot.ARCHITECTURES[arguments.architecture]
    cores = arguments.cores.split(",") if arguments.cores else list(architecture.cores)
    if not set(cores) <= set(architecture.cores):
        parser.error(f"expected cores out of {', '.join(architecture.cores)}; got {cores}")
    root = sysroot.prepare(Path(arguments.sysroot or cache_folder()), architecture)
    counter = Counter(root, arguments.delegate or _arm_delegate(architecture))
    cases = list(_cases(arguments))
    print(
        "Emulated: instructions per multiply-accumulate; modelled: cycles. Whole interpreter, one\n"
        f"thread; stock is {architecture.runtime}; ratios above 1: ours takes fewer."
    )
    if counter.models:
        print(f"The inner loops' models: {', '.join(modelled.MODELS)}.")
    for core in cores:
        rows = counter.count(core, arguments.kernel, cases)
        print(f"\n{core}\n\n{_table(*_COLUMNS, *(_MODELLED if counter.models else ()))}")
        for case, (stock, ours, reports) in zip(cases, rows, strict=True):
            print(_row(case.name, stock, ours, reports))
        if len(cases) > 1:
            print(_total(cases, rows), flush=True)
    return 0


_COLUMNS = ("layer", "kMAC", "kernel", "steps", "spills", "stock", "ours", "ratio")
_MODELLED = ("stock, cycles", "ours, cycles", "ratio", "inner loops, MAC/cycle: stock", "ours")
_TEXTS = (0, 2, 11, 12)  # columns that hold no number


def _table(*columns: str) -> str:
    rule = ("---" if i in _TEXTS else "--:" for i in range(len(columns)))
    return f"| {' | '.join(columns)} |\n|{'|'.join(rule)}|"


def _row(name: str, stock: Count, ours: Count, reports: Sequence[dict]) -> str:
    kernels = "+".join(sorted({report["kernel"] for report in reports}))
    macs, steps, spills = (sum(r[key] for r in reports) for key in ("macs", "steps", "spills"))
    cells = [name, f"{macs / 1000:.0f}", kernels, str(steps), str(spills)]
    for a, b in ((stock.instructions, ours.instructions), (stock.cycles, ours.cycles)):
        if not math.isnan(a):
            cells += [f"{a / macs:.3f}", f"{b / macs:.3f}", f"{a / b:.2f}"]
    inner = [] if math.isnan(ours.cycles) else [stock.inner, ours.inner]
    return f"| {' | '.join([*cells, *inner])} |"


def _total(cases: Sequence[Case], rows: Sequence[tuple[Count, Count, list[dict]]]) -> str:
    def sum_of(which: int) -> Count:
        counts = [(case.times, row[which]) for case, row in zip(cases, rows, strict=True)]
        return Count(
            sum(times * count.instructions for times, count in counts),
            sum(times * count.cycles for times, count in counts),
        )

    reports = [r for case, row in zip(cases, rows, strict=True) for r in row[2] * case.times]
    return _row("all layers", sum_of(0), sum_of(1), reports)


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    from synthetic import convolution, layer, network

    weights = "constrained" if arguments.constrained else "normal"
    if arguments.four_bits:
        weights = "four bits"
    if arguments.synthetic:
        yield Case(arguments.synthetic, convolution(arguments.synthetic, weights=weights))
    elif arguments.network:
        for shape in network(arguments.network):
            name = f"{shape} {shape.height}x{shape.width}x{shape.cin} to {shape.cout}"
            yield Case(name, layer(shape, weights=weights), shape.times)
    elif arguments.layers:
        data = arguments.model.read_bytes()
        for index, op in enumerate(quantized_ops(load(data))):
            yield Case(str(index), cut_out(data, op.index))
    else:
        yield Case(arguments.model.name, arguments.model.read_bytes())


def _arm_delegate(architecture: sysroot.Architecture) -> Path:
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={SOURCES}/cmake/linux-{architecture.name}.cmake"
    folder = build(f"{architecture.name}-release", [toolchain], ["accq_delegate"])
    return find(folder, "libaccq_delegate.so")


class Counter:
    """Counts the instructions of invocations in an emulated Python.

    Args:
        root: That Python.
        delegate: Ours, for its architecture.
    """

    def __init__(self, root: sysroot.Sysroot, delegate: Path) -> None:
        self._root, self._delegate = root, delegate
        self.models = root.architecture.name == "aarch64"

    def count(
        self, core: str, kernel: str, cases: Sequence[Case]
    ) -> list[tuple[Count, Count, list[dict]]]:
        """Of the stock runtime and of ours, and the delegate's report, for each case.

        Args:
            core: One of the architecture's.
            kernel: "chosen", or the name of a kernel of ours.
            cases: What to run.
        """
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            jobs, layers = [], []
            for i, case in enumerate(cases):
                stock, ours = work / f"{i}-builtin.tflite", work / f"{i}-custom.tflite"
                rewrite(case.model, stock, ops="builtin")
                rewrite(case.model, ours)
                layers.append(len(quantized_ops(load(ours.read_bytes()))))
                jobs += [str(stock), "stock", str(ours), kernel]
            counts = self._run(core, work, jobs)
            lines = [json.loads(s) for s in (work / "report.jsonl").read_text().splitlines()]
        rows = []
        for i, n in enumerate(layers):
            rows.append((counts[2 * i], counts[2 * i + 1], lines[:n]))
            lines = lines[n:]
        return rows

    def _run(self, core: str, work: Path, jobs: Sequence[str]) -> list[Count]:
        plugin, out, blocks = (work / name for name in ("count.so", "counts.txt", "blocks.txt"))
        source = SOURCES / "bench/count_instructions.c"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", source, "-o", plugin], check=True)
        environment = {
            "ACCQ_DELEGATE": str(self._delegate.resolve()),
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(REPOSITORY),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        options = f"{plugin},out={out},getppid={_GETPPID[self._root.architecture.name]}"
        if self.models:
            options += f",blocks={blocks}"
        arguments = [str(_INVOKE), str(work / "report.jsonl"), *jobs]
        command = self._root.command(core, arguments, environment, "-plugin", options)
        done = subprocess.run(command, text=True, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        # Every other stretch is an invocation.
        instructions = [int(line) for line in out.read_text().splitlines()][1::2]
        if not self.models:
            return [Count(n) for n in instructions]
        try:
            stretches = modelled.read_blocks(blocks)[1::2]
            pairs = zip(instructions, stretches, strict=True)
            return [self._modelled(core, *pair) for pair in pairs]
        except modelled.Unavailable as error:
            print(f"no modelled cycles: {error}", file=sys.stderr)
            self._models = False
            return [Count(n) for n in instructions]

    def _modelled(self, core: str, instructions: int, blocks: modelled.Runs) -> Count:
        cycles = modelled.model(blocks, modelled.MODEL_OF[core]).cycles
        found = [modelled.model(blocks, other) for other in modelled.MODELS]
        inner = [f"{m.inner_macs / m.inner_cycles:.1f}" if m.inner_macs else "-" for m in found]
        return Count(instructions, cycles, " ".join(inner))


if __name__ == "__main__":
    sys.exit(main())
