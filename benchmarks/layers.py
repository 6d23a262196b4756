"""Time of every quantized layer of a `.tflite` file: stock LiteRT's kernel against ours.

    python benchmarks/layers.py model.tflite [--hide-avx512] [--json out.json]
    python benchmarks/layers.py --synthetic 3x3x96x96x32x32 --constrained
    python benchmarks/layers.py --network all_cnn_c --constrained

Each convolution, depthwise convolution and fully-connected layer is cut out into a file of its
own, in both forms, and both run in this process in turns, on one thread; the medians are
compared. An operand's clamp, which only the custom form does, is left out of the stock form. A
layer on its own finds its weights in the cache. The last row times the whole model, where the
stock form has the clamps as operators of their own.
"""

import argparse
import json
import math
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from alternate import medians
from one_op import cut_out, cut_out_dot_product

import keras_accq as accq
from keras_accq.certificate import short_name
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import load


@dataclass
class Row:
    """One layer, or a total. Times in microseconds."""

    name: str
    shape: str
    macs: int
    kernel: str
    steps: int | None
    spills: int | None
    stock_us: float
    ours_us: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.stock_us / self.ours_us


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a .tflite file, int8 built-ins or custom ops")
    parser.add_argument("--synthetic", metavar="KHxKWxCINxCOUTxHxW", help="one such convolution")
    parser.add_argument("--network", metavar="NAME", help="layers of its shapes: networks.txt")
    parser.add_argument("--constrained", action="store_true", help="its weights fit 16 bits")
    parser.add_argument("--hide-avx512", action="store_true", help="see hide_avx512.py")
    parser.add_argument("--kernel", help="of ours, for all layers; else the first of the table")
    parser.add_argument("--samples", type=int, default=101, help="measurements of each (101)")
    parser.add_argument("--json", metavar="PATH", help="write the figures there too")
    arguments = parser.parse_args()
    sources = [arguments.model, arguments.synthetic, arguments.network]
    if sum(map(bool, sources)) != 1:
        parser.error("expected a model, --synthetic or --network")
    if arguments.constrained and arguments.model:
        parser.error("--constrained goes with --synthetic or --network")

    machine = cpu_name()
    if arguments.hide_avx512:
        from hide_avx512 import hide_avx512

        hidden = hide_avx512()
        machine += ", AVX-512 and VNNI hidden"
    if arguments.model:
        data = Path(arguments.model).read_bytes()
        rows = measure(data, arguments.samples, arguments.kernel)
    elif arguments.synthetic:
        from synthetic import convolution

        data = convolution(arguments.synthetic, constrained=arguments.constrained)
        rows = measure(data, arguments.samples, arguments.kernel)
    else:
        rows = measure_network(
            arguments.network, arguments.constrained, arguments.samples, arguments.kernel
        )
    if arguments.hide_avx512 and not hidden.answers:
        raise RuntimeError("LiteRT did not ask for the CPU's features: nothing was hidden")
    if arguments.hide_avx512 and any("vnni" in row.kernel for row in rows):
        raise RuntimeError("the delegate took VNNI kernels: nothing was hidden from it")

    print(f"{next(filter(None, sources))}, one thread, {machine}")
    print(table(rows))
    if arguments.json:
        document = {"machine": machine, "rows": [asdict(row) for row in rows]}
        Path(arguments.json).write_text(json.dumps(document, indent=1) + "\n")
    return 0


def measure(data: bytes, samples: int, kernel: str | None = None) -> list[Row]:
    """One row per layer, then totals and the whole model."""
    ops = quantized_ops(load(data))
    if any(op.custom for op in ops):
        custom = data
    else:
        custom = accq.rewrite(data).model
        ops = quantized_ops(load(custom))
    taken = [op for op in ops if op.custom and op.subgraph == 0]
    for op in ops:
        if not op.custom:
            print(f"left to stock: {op.name}: {op.reason}", file=sys.stderr)
    rows = [measure_layer(custom, op, samples, kernel) for op in taken]
    totals = [total("all layers", rows)]
    convolutions = [row for row, op in zip(rows, taken, strict=True) if op.kind == "conv2d"]
    if len(convolutions) not in (0, len(rows)):
        totals.insert(0, total("convolutions", convolutions))
    stock = accq.rewrite(custom, ops="builtin").model
    times, _ = compare(stock, custom, (-128, 127), samples, kernel)
    whole = Row("whole model", "", totals[-1].macs, "", None, None, *times)
    return [*rows, *totals, whole]


def measure_network(name: str, constrained: bool, samples: int, kernel: str | None) -> list[Row]:
    """One row per shape of a network's layers, and their total."""
    from synthetic import layer, network

    rows, times = [], []
    for shape in network(name):
        custom = accq.rewrite(layer(shape, constrained=constrained)).model
        (op,) = quantized_ops(load(custom))
        row = measure_layer(custom, op, samples, kernel)
        row.name = str(shape) + (f", {shape.times} times" if shape.times > 1 else "")
        rows.append(row)
        times.append(shape.times)
    every = [row for row, count in zip(rows, times, strict=True) for _ in range(count)]
    return [*rows, total("all layers", every)]


def measure_layer(custom: bytes, op: QuantizedOp, samples: int, kernel: str | None) -> Row:
    """The row of one custom op of a file."""
    ours = cut_out(custom, op.index)
    stock = cut_out_dot_product(accq.rewrite(ours, ops="builtin").model)
    times, report = compare(stock, ours, (op.in_min, op.in_max), samples, kernel)
    k = op.weights().shape[1]
    model = load(custom)
    shapes = [model.subgraphs[0].tensors[t].shape for t in (op.input, op.output)]
    return Row(
        op.name,
        f"{op.kind} K={k} " + " -> ".join("x".join(map(str, shape)) for shape in shapes),
        math.prod(shapes[1]) * k,
        report["kernel"],
        report["steps"],
        report["spills"],
        *times,
    )


def compare(
    stock: bytes, ours: bytes, limits: tuple[int, int], samples: int, kernel: str | None
) -> tuple[list[float], dict[str, Any]]:
    """Median microseconds of both files, and the delegate's report on the first op of ours."""
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.NamedTemporaryFile() as report:
        forced = {"kernel": kernel} if kernel else {}
        delegate = accq.load_delegate({"report_path": report.name, **forced})
        interpreters = [
            Interpreter(model_content=stock, num_threads=1),
            Interpreter(model_content=ours, num_threads=1, experimental_delegates=[delegate]),
        ]
        runs = [prepare(interpreter, limits) for interpreter in interpreters]
        first = json.loads(report.read().splitlines()[0])
    outputs = [i.get_tensor(i.get_output_details()[0]["index"]) for i in interpreters]
    if not np.array_equal(*outputs):
        raise RuntimeError(f"{np.sum(outputs[0] != outputs[1])} outputs differ from stock LiteRT's")
    return [1e6 * seconds for seconds in medians(runs, samples=samples)], first


def prepare(interpreter: Any, limits: tuple[int, int]) -> Callable[[], None]:
    """Sets the same random inputs in every interpreter, runs once, returns the call to time."""
    rng = np.random.default_rng(0)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        if detail["dtype"] == np.int8:
            value = rng.integers(limits[0], limits[1], detail["shape"], np.int8, endpoint=True)
        else:
            value = rng.standard_normal(detail["shape"]).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter.invoke


def total(name: str, rows: list[Row]) -> Row:
    """The sum of some rows."""
    return Row(
        name,
        "",
        sum(r.macs for r in rows),
        "",
        None,
        None,
        sum(r.stock_us for r in rows),
        sum(r.ours_us for r in rows),
    )


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| layer | shape | kMAC | kernel | steps | spills | stock µs | ours µs | ratio |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [
            short_name(row.name),
            row.shape,
            f"{row.macs / 1000:.0f}",
            row.kernel,
            "" if row.steps is None else str(row.steps),
            "" if row.spills is None else str(row.spills),
            f"{row.stock_us:.1f}",
            f"{row.ours_us:.1f}",
            f"{row.ratio:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cpu_name() -> str:
    """What the kernel calls this CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
