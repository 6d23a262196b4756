"""Time of every quantized layer of a `.tflite` file, and of the whole: stock LiteRT against ours.

Each layer is cut out into a file of its own, in both forms, and both run in this process in turns;
the medians are compared. An operand's clamp, which only the custom form does, is left out of the
stock form. A layer on its own finds its weights in the cache. The whole model runs in both forms
too; there the stock form has the clamps as operators of their own.
"""

import json
import platform
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_accq.bench.alternate import medians
from keras_accq.bench.cut import cut_out, cut_out_dot_product
from keras_accq.certificate import short_name
from keras_accq.errors import InvalidFileError, MismatchError, UnsupportedModelError
from keras_accq.strict_json import decode, parse
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.profile import macs
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import rewrite

_T = TypeVar("_T")

# Iterated over instead of what it is given: a progress bar, such as tqdm.tqdm.
Progress = Callable[[list[_T]], Iterable[_T]]

_FORMAT = 1


@dataclass
class Row:
    """One layer, or a total. Times in microseconds.

    Attributes:
        name: The layer's output tensor, or what is summed.
        shape: Kind, products per output and shapes, in words.
        macs: Multiply-accumulates.
        kernel: The delegate's; "" for a total, as None for the next two.
        steps, spills: Of the kernel's schedule, see `keras_accq.certificate.Spills`.
        stock_us: Stock LiteRT's median.
        ours_us: Ours.
    """

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


@dataclass(frozen=True)
class Bench:
    """What `measure` found.

    Attributes:
        layers: One row per layer that has a kernel of ours, in the file's order.
        totals: Sums of them.
        whole: The whole model; None where only layers were measured.
        left: Name and reason of each dot product that stock LiteRT runs in both forms.
        operators: How many operators the custom form has.
        delegated: How many of them the delegate ran.
        builtins: Int8 built-ins of the stock form that the delegate has kernels for.
        builtins_claimed: How many of them it takes on this CPU with claim="builtin".
        threads: Of each interpreter.
        machine: The CPU's name.
    """

    layers: tuple[Row, ...]
    totals: tuple[Row, ...]
    whole: Row | None
    left: tuple[tuple[str, str], ...]
    operators: int
    delegated: int
    builtins: int
    builtins_claimed: int
    threads: int
    machine: str

    @property
    def rows(self) -> list[Row]:
        """All rows, the whole model last."""
        return [*self.layers, *self.totals, *([] if self.whole is None else [self.whole])]

    @property
    def nodes(self) -> str:
        """The node counts in one sentence."""
        return (
            f"the delegate runs {self.delegated} of {self.operators} operators of the custom file; "
            f'with claim="builtin" it takes {self.builtins_claimed} of {self.builtins} int8 '
            "built-ins of the stock one on this CPU"
        )

    def to_json(self) -> str:
        """The figures as a JSON object, `"format": 1`."""
        record = {**asdict(self), "rows": [asdict(row) for row in self.rows]}
        return json.dumps({"format": _FORMAT, **record}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Bench":
        """What `to_json` wrote.

        Raises:
            InvalidFileError: Anything else, or another format.
        """
        record = parse(text, "bench")
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise InvalidFileError(
                f'bench: expected a JSON object with "format": {_FORMAT}, as accq bench --json '
                "prints it"
            )
        bench: Bench = decode(
            cls, {key: record[key] for key in record if key not in ("format", "rows")}, "bench"
        )
        return bench


def measure(
    data: bytes,
    *,
    samples: int = 101,
    kernel: str | None = None,
    threads: int = 1,
    summarize: Callable[..., list[float]] = medians,
    progress: Progress[QuantizedOp] = iter,
) -> Bench:
    """Times each layer of a file in both forms, then the whole model.

    Args:
        data: A `.tflite` file of int8 built-ins, or of our operators.
        samples: Measurements of each, at least 1.
        kernel: Of ours, for all layers; None for the best of each.
        threads: Of each interpreter.
        summarize: `alternate.medians` or `alternate.fastest`, which a busy machine disturbs less.
        progress: Given the layers to measure; what it yields is measured.

    Raises:
        DelegateError: The delegate is missing, or refuses the kernel.
        InvalidFileError: Not a sound `.tflite` file.
        MismatchError: Outputs differ.
        RuntimeError: LiteRT can not run the file.
        UnsupportedModelError: No layer of the file can be measured.
        ValueError: `samples` or `threads` below 1.
    """
    if samples < 1 or threads < 1:
        raise ValueError(
            f"expected samples and threads of at least 1, received {samples} and {threads}"
        )
    from keras_accq.runtime import Interpreter  # Loads LiteRT.

    ops = quantized_ops(load(data))
    custom = data
    if not any(op.custom for op in ops):
        custom = rewrite(data).model
        ops = quantized_ops(load(custom))
    taken = [op for op in ops if op.custom and op.subgraph == 0]
    if not taken:
        raise UnsupportedModelError(
            "expected a file with int8 dot products that keras-accq takes; "
            + ("; ".join(f"{op.name}: {op.reason}" for op in ops) or "this one has no dot product")
        )
    stock = rewrite(custom, ops="builtin").model
    timer = _Timer(samples, kernel, threads, summarize)
    layers = [timer.layer(custom, op) for op in progress(taken)]
    totals = [total("all layers", layers)]
    convolutions = [row for row, op in zip(layers, taken, strict=True) if op.kind == "conv2d"]
    if len(convolutions) not in (0, len(layers)):
        totals.insert(0, total("convolutions", convolutions))
    times, _ = timer.compare("whole model", stock, custom, (-128, 127))
    claiming = Interpreter(model_content=stock, claim="builtin")
    return Bench(
        layers=tuple(layers),
        totals=tuple(totals),
        whole=Row("whole model", "", totals[-1].macs, "", None, None, *times),
        left=tuple(
            (op.name, op.reason or "not in the main subgraph") for op in ops if op not in taken
        ),
        operators=len(load(custom).subgraphs[0].operators),
        delegated=timer.delegated,
        builtins=claiming.int8_builtins,
        builtins_claimed=claiming.delegated_builtins,
        threads=threads,
        machine=cpu_name(),
    )


def measure_layer(
    custom: bytes,
    op: QuantizedOp,
    samples: int,
    kernel: str | None = None,
    threads: int = 1,
    summarize: Callable[..., list[float]] = medians,
) -> Row:
    """The row of one custom op of a file."""
    return _Timer(samples, kernel, threads, summarize).layer(custom, op)


class _Timer:
    """Compares files, all in the same way."""

    def __init__(
        self,
        samples: int,
        kernel: str | None,
        threads: int,
        summarize: Callable[..., list[float]],
    ) -> None:
        self._summarize = summarize
        self._samples = samples
        self._kernel = kernel
        self._threads = threads
        self.delegated = 0

    def layer(self, custom: bytes, op: QuantizedOp) -> Row:
        ours = cut_out(custom, op.index)
        stock = cut_out_dot_product(rewrite(ours, ops="builtin").model)
        times, report = self.compare(op.name, stock, ours, (op.in_min, op.in_max))
        k = op.weights().shape[1]
        model = load(custom)
        shapes = [model.subgraphs[0].tensors[t].shape for t in (op.input, op.output)]
        return Row(
            op.name,
            f"{op.kind} K={k} " + " -> ".join("x".join(map(str, shape)) for shape in shapes),
            macs(model, op),
            report["kernel"],
            report["steps"],
            report["spills"],
            *times,
        )

    def compare(
        self, name: str, stock: bytes, ours: bytes, limits: tuple[int, int]
    ) -> tuple[list[float], dict[str, Any]]:
        """Median microseconds of both files, and the delegate's report on the first op of ours."""
        from ai_edge_litert.interpreter import Interpreter as Stock

        from keras_accq.runtime import Interpreter

        with tempfile.NamedTemporaryFile() as report:
            delegated = Interpreter(
                model_content=ours,
                num_threads=self._threads,
                kernel=self._kernel,
                report_path=report.name,
            )
            interpreters = [Stock(model_content=stock, num_threads=self._threads), delegated]
            runs = [_prepare(interpreter, limits) for interpreter in interpreters]
            first = json.loads(report.read().splitlines()[0])
        self.delegated = delegated.delegated_nodes
        for index in range(len(delegated.get_output_details())):
            a, b = (i.get_tensor(i.get_output_details()[index]["index"]) for i in interpreters)
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                raise MismatchError(
                    f"{name}: {np.sum(a != b)} of {a.size} outputs of kernel {first['kernel']} "
                    "differ from stock LiteRT's: please report it, with the file"
                )
        seconds = self._summarize(runs, samples=self._samples)
        return [1e6 * each for each in seconds], first


def _prepare(interpreter: Any, limits: tuple[int, int]) -> Callable[[], None]:
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
    invoke: Callable[[], None] = interpreter.invoke
    return invoke


def total(name: str, rows: Iterable[Row]) -> Row:
    """The sum of some rows."""
    rows = list(rows)
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


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, aligned to be read as it is."""
    cells = [
        ["layer", "shape", "kMAC", "kernel", "steps", "spills", "stock µs", "ours µs", "ratio"]
    ]
    for row in rows:
        cells.append(
            [
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
        )
    words = {0, 1, 3}
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(cells[0]))]
    rule = ["-" * w if i in words else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    cells.insert(1, rule)
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    )


def cpu_name() -> str:
    """What the kernel calls this CPU."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
