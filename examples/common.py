"""What the examples share: from a quantized model to files, figures and a table.

Every example trains or calibrates on data that is on this machine, writes certified `.tflite`
files, and prints for each runtime the accuracy, the size, the time for one sample and what the
file's certificate says. Test data are looked at once, at the end.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own progress, line by line

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

import keras_accq as accq

# Files that take and give the Keras model's own numbers.
FLOAT = {"input_type": "float32", "output_type": "float32"}
STOCK, OURS = "stock LiteRT, int8 built-ins", "keras-accq kernels"


@dataclass(frozen=True)
class Row:
    """One line of the table; what is None is left empty."""

    name: str
    score: float | None = None
    size: int | None = None  # bytes
    time: float | None = None  # microseconds for one sample, one thread
    verdict: str = ""


def parser(description: str, *, several_bits: bool = False) -> argparse.ArgumentParser:
    """Of the options that all examples have; the module's docstring becomes the help."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    several = {"nargs": "+", "default": [16]} if several_bits else {"default": 16}
    made.add_argument("--acc-bits", type=int, help="P, the accumulator (default 16)", **several)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--output", type=Path, help="folder that keeps the .tflite files")
    made.add_argument("--figure", type=Path, help="write a figure: a name that ends in .png")
    return made


def folder(output: Path | None):
    """A context with the folder for files: the one asked for, or a temporary one."""
    if output is None:
        return tempfile.TemporaryDirectory()
    output.mkdir(parents=True, exist_ok=True)
    return nullcontext(output)


def train(model: keras.Model, x, y, epochs: int, rate: float, batch: int = 32) -> None:
    """Trains a classifier that ends in logits, with Adam and a cosine decay of the rate."""
    print(f"training {model.name} on {len(x)} samples, epochs: {epochs}", flush=True)
    steps = max(1, epochs * -(-len(x) // batch))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)


def right(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of rows whose largest value is the label's."""
    return float(np.mean(outputs.argmax(axis=-1) == labels))


class Runner:
    """A file in an interpreter with one thread, fed one sample at a time."""

    def __init__(self, path: Path, interpreter_class) -> None:
        self.interpreter = interpreter_class(model_path=str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]

    def __call__(self, sample: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self.input, sample[None].astype(np.float32))
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)[0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.stack([self(sample) for sample in x])


def microseconds(runners: Sequence[Runner], x: np.ndarray, rounds: int = 15) -> list[float]:
    """Median time per sample of each runner, taking turns so that all see the same machine."""
    times: list[list[float]] = [[] for _ in runners]
    samples = x[:20].astype(np.float32)
    for _ in range(rounds):
        for runner, taken in zip(runners, times, strict=True):
            start = time.perf_counter()
            for sample in samples:
                runner(sample)
            taken.append((time.perf_counter() - start) / len(samples))
    return [float(np.median(taken)) * 1e6 for taken in times]


def deploy(
    qmodel: keras.Model,
    stem: Path,
    x: np.ndarray,
    score: Callable[[np.ndarray], float] | None = None,
    name: str = "",
) -> tuple[accq.Certificate, list[Row]]:
    """Writes the model's files, runs both on the test samples and compares them.

    Args:
        qmodel: From `accq.quantize`; `accq.round_biases` first makes it predict what files do.
        stem: The files are `<stem>_builtin.tflite` and `<stem>_custom.tflite`.
        x: Test samples, in the Keras model's units.
        score: From all outputs to a figure, the accuracy for example.
        name: Put before the rows' names.
    """
    paths = {ops: stem.with_name(f"{stem.name}_{ops}.tflite") for ops in ("builtin", "custom")}
    made = {ops: accq.convert(qmodel, path, ops=ops, **FLOAT) for ops, path in paths.items()}
    found = {STOCK: (paths["builtin"], Runner(paths["builtin"], Interpreter))}
    try:
        found[OURS] = (paths["custom"], Runner(paths["custom"], accq.Interpreter))
    except accq.DelegateError as error:
        print(f"\nOnly stock LiteRT can be shown: {error}")
    outputs = [runner.predict(x) for _, runner in found.values()]
    if any(not np.array_equal(outputs[0], other) for other in outputs):
        raise AssertionError(f"{stem.name}: the two runtimes' outputs differ")
    times = microseconds([runner for _, runner in found.values()], x)
    certificate = made["custom"]
    rows = [
        Row(
            f"{name}{', ' if name else ''}{label}",
            score(output) if score else None,
            path.stat().st_size,
            taken,
            certificate.verdict if label == OURS or len(found) == 1 else "",
        )
        for (label, (path, _)), output, taken in zip(found.items(), outputs, times, strict=True)
    ]
    return certificate, rows


def float_row(model: keras.Model, score: float | None, name: str = "float Keras model") -> Row:
    """What the float network does; its size is that of its float32 weights."""
    return Row(name, score, 4 * model.count_params())


def table(rows: Sequence[Row], score: str = "test accuracy", form: str = "{:.2%}") -> str:
    """The rows as text with aligned columns."""
    cells = [("", score, "kB", "us per sample", "certified")]
    for row in rows:
        cells.append(
            (
                row.name,
                "" if row.score is None else form.format(row.score),
                "" if row.size is None else f"{row.size / 1000:.1f}",
                "" if row.time is None else f"{row.time:.1f}",
                row.verdict,
            )
        )
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    aligned = [
        [line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in (1, 2, 3)), line[4]]
        for line in cells
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


# Okabe and Ito's colours, which the colour-blind tell apart.
_BLUE, _ORANGE, _DARK = "#0072B2", "#E69F00", "#222222"


def figure(
    path: Path,
    title: str,
    ops: Sequence,
    rows: Sequence[Row],
    form: str = "{:.2%}",
) -> None:
    """Writes a PNG: what each channel asks of its accumulator, and the runtimes' times.

    Args:
        path: Of the PNG.
        title: Of the figure.
        ops: Of certificates.
        rows: Those with a time are drawn.
        form: How scores are written.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "--figure needs matplotlib: pip install 'keras-accq[examples]'"
        ) from error
    timed = [row for row in rows if row.time is not None]
    height = 1.5 + max(0.24 * len(ops), 0.5 * len(timed), 1.1)
    drawn = Figure(figsize=(11, height), layout="constrained")
    drawn.suptitle(title, fontsize=12, x=0.01, ha="left")
    left, rights = drawn.subplots(1, 2, width_ratios=(3, 2))
    for axes in (left, rights):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_axisbelow(True)
        axes.grid(axis="x", color="#e4e4e4")

    for place, op in enumerate(ops):
        full = 100 * np.sort(op.worst_case) / op.limit
        # Spread over the row in an order without a pattern, the same every time.
        shift = 0.6 * (np.arange(len(full)) * 0.618034 % 1 - 0.5)
        left.scatter(full, place + shift, s=9, color=_BLUE, alpha=0.55, linewidths=0)
    left.axvline(100, color=_DARK, linewidth=2)
    left.set_yticks(range(len(ops)), [op.name.split(";")[0][-28:] for op in ops], fontsize=8)
    left.set_ylim(len(ops) - 0.4, -0.6)
    left.set_xlim(0, 104)
    left.set_title("how full each channel's accumulator is in the worst case, %", fontsize=9)

    for place, row in enumerate(timed):
        ours = row.name.endswith(OURS)
        style = {"color": _BLUE} if ours else {"color": _ORANGE, "hatch": "///"}
        rights.barh(place, row.time, height=0.42, edgecolor="white", linewidth=0, **style)
        scored = "" if row.score is None else ", " + form.format(row.score)
        text = f"{row.name}: {row.time:.1f} µs{scored}"
        rights.text(0, place - 0.32, text, va="bottom", fontsize=8.5)
    rights.set_yticks([])
    # Bars of half an inch a row, from the top, however many layers the left has.
    rights.set_ylim(max(len(timed) - 0.5, (height - 1.5) / 0.5 - 0.75), -0.75)
    rights.set_title("µs for one sample on one thread of this machine", fontsize=9)
    drawn.savefig(path, dpi=150)
    print(f"\nfigure: {path}")
