"""The report's figures, in the colours of Okabe and Ito, which the colour-blind tell apart.

Nothing is told by colour alone: series differ in marker or hatch too.
"""

import io
import math
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from keras_accq.bench.measure import Row
from keras_accq.certificate import OpCertificate
from keras_accq.report.results import Result
from keras_accq.tflite.profile import LayerProfile

# Okabe and Ito, "Color Universal Design" (2008).
_BLUE, _ORANGE, _GREEN, _VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_SKY, _PURPLE, _BLACK, _GREY = "#56B4E9", "#CC79A7", "#222222", "#8a8a8a"
_SERIES = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY, _BLACK)
_MARKERS = "osD^vPX"

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # Comes with matplotlib: the same figure everywhere.
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#b5b5b5",
    "axes.labelcolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#222222",
    "ytick.major.size": 0,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 1.0,
    "svg.hashsalt": "keras-accq",  # Equal figures are equal bytes.
}
_WIDTH = 9.2
_NAME = 30


class Canvas:
    """A figure with one axes, that becomes SVG and PNG.

    Args:
        rows: Rows of the y axis, which give the height.
        least: Least height in inches.
    """

    def __init__(self, rows: float, least: float = 0.0) -> None:
        from matplotlib.figure import Figure

        size = (_WIDTH, max(least, 0.27 * rows + 1.15))
        self.figure = Figure(figsize=size, layout="constrained")
        self.axes: Any = self.figure.add_subplot()
        self.axes.set_axisbelow(True)
        self.axes.grid(axis="x")

    def names(self, names: Sequence[str]) -> None:
        """Names the rows, from top to bottom."""
        self.axes.set_yticks(range(len(names)), [_short(name) for name in names])
        self.axes.set_ylim(len(names) - 0.45, -0.55)

    def legend(self) -> None:
        """A legend above the axes, as wide as the figure."""
        self.figure.legend(loc="outside upper left", ncols=6, handletextpad=0.5)

    def svg(self, label: str) -> str:
        """The figure as an <svg> element, called `label` where it is read aloud."""
        file = io.StringIO()
        self.figure.savefig(file, format="svg", metadata={"Date": None})
        text = file.getvalue()[file.getvalue().index("<svg") :]
        return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)

    def png(self) -> bytes:
        """The figure as a PNG file."""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=160)
        return file.getvalue()


def style() -> Any:
    """The context in which all figures are drawn and written.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise ImportError(
            "a report is drawn with matplotlib, which is not installed: "
            "pip install 'keras-accq[report]'"
        ) from error
    return rc_context(_STYLE)


def _short(name: str) -> str:
    """A tensor's name for an axis: the end of a path tells more than its beginning."""
    first = name.split(";")[0]
    return first if len(first) <= _NAME else "…" + first[1 - _NAME :]


def bits(magnitude: float) -> float:
    """The accumulator that a magnitude needs, with its fraction: the limit 2^(P-1)-1 gives P."""
    return math.log2(magnitude + 1) + 1


def accumulators(ops: Sequence[OpCertificate]) -> Canvas:
    """Per layer, the accumulator that each channel needs, against the one that it has."""
    canvas = Canvas(len(ops))
    axes = canvas.axes
    marks: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, op in enumerate(ops):
        beyond = "widened" if op.partition is None else "broken"
        worst = sorted(op.worst_case)
        # Spread over the row in an order without a pattern, the same every time.
        places = row + 0.5 * (np.arange(len(worst)) * 0.618034 % 1 - 0.5)
        for place, value in zip(places.tolist(), worst, strict=True):
            marks["within" if value <= op.limit else beyond].append((bits(value), place))
        axes.plot([op.acc_bits] * 2, [row - 0.4, row + 0.4], color=_BLACK, linewidth=2, zorder=4)
        types = bits(op.k * 128 * max(-op.in_min, op.in_max))
        axes.plot(types, row, marker="|", markersize=9, color=_GREY, zorder=2)
    for kind, colour, marker, size, label in (
        ("within", _BLUE, "o", 9, "a channel that fits"),
        ("widened", _ORANGE, "D", 9, "a channel beyond P: widened in time"),
        ("broken", _VERMILLION, "x", 16, "a channel that breaks the claim"),
    ):
        if marks[kind]:
            x, y = zip(*marks[kind], strict=True)
            axes.scatter(x, y, s=size, c=colour, alpha=0.6, linewidths=0.9, marker=marker)
            axes.plot([], [], marker, color=colour, markersize=5, label=label)
    axes.plot([], [], color=_BLACK, linewidth=2, label="P, its accumulator")
    axes.plot([], [], "|", markersize=9, color=_GREY, label="what int8 types ask for")
    axes.set_xlabel("bits that the accumulator needs")
    _whole_ticks(axes)
    canvas.names([op.name for op in ops])
    canvas.legend()
    return canvas


def widths(layers: Sequence[LayerProfile], ops: Sequence[OpCertificate]) -> Canvas:
    """Per layer, the bits of weights, inputs and accumulator."""
    canvas = Canvas(len(layers))
    axes = canvas.axes
    rows = np.arange(len(layers))
    for label, values, colour, marker, shift in (
        ("weights (M)", [layer.weight_bits for layer in layers], _ORANGE, "s", -0.22),
        ("inputs (N)", [layer.input_bits for layer in layers], _SKY, "o", 0.22),
        ("least accumulator", [op.least_acc_bits for op in ops], _BLUE, "D", 0),
    ):
        axes.hlines(rows + shift, 0, values, color=colour, linewidth=1, alpha=0.35)
        axes.plot(values, rows + shift, marker, color=colour, markersize=6.5, label=label)
    axes.axvline(16, color=_BLACK, linewidth=1, linestyle=(0, (4, 3)), label="16 bits")
    axes.set_xlim(0)
    axes.set_xlabel("bits")
    _whole_ticks(axes)
    canvas.names([layer.name for layer in layers])
    canvas.legend()
    return canvas


_LAYOUTS = {
    "avx2_k4n16": ("x86-64 (AVX2, SSE4.1)", _BLUE, ""),
    "avx2_dw": ("x86-64 depthwise", _GREEN, "////"),
    "neon_dot8": ("64-bit ARM", _ORANGE, "...."),
    "neon_dot16": ("64-bit ARM, in 8 bits", _ORANGE, "++"),
    "neon_dw": ("64-bit ARM depthwise", _ORANGE, "xxxx"),
}


def spills(ops: Sequence[OpCertificate]) -> Canvas:
    """Per layer and kernel layout, after how many steps the narrow sums are widened."""
    used = [name for name in _LAYOUTS if any(name in op.spills for op in ops)]
    canvas = Canvas(1.45 * len(ops))
    axes = canvas.axes
    for name in used:
        label, colour, hatch = _LAYOUTS[name]
        for row, op in enumerate(ops):
            present = [layout for layout in used if layout in op.spills]
            if name not in present:
                continue
            height = 0.74 / len(present)
            figures = op.spills[name]
            share = 100 * figures.spills / figures.steps if figures.steps else 0
            place = row - 0.37 + height * (present.index(name) + 0.5)
            style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            axes.barh(place, share, height=height * 0.9, **style)
            text = f" {share:.0f} %" + (" + int32" if figures.int32_steps else "")
            axes.text(share, place, text, va="center", fontsize=7.5, color="#555555")
        axes.barh(0, 0, color=colour, hatch=hatch, edgecolor="white", label=label)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("int16 steps after which the sums are widened to 32 bits, %")
    canvas.names([op.name for op in ops])
    canvas.legend()
    return canvas


def work(layers: Sequence[LayerProfile]) -> Canvas:
    """Per layer, its share of the multiply-accumulates: what there is without measurements."""
    canvas = Canvas(len(layers))
    total = sum(layer.macs for layer in layers) or 1
    shares = [100 * layer.macs / total for layer in layers]
    canvas.axes.barh(range(len(layers)), shares, height=0.62, color=_BLUE)
    for row, (layer, share) in enumerate(zip(layers, shares, strict=True)):
        text = f"  {share:.1f} %, {_si(layer.macs)}"
        canvas.axes.text(share, row, text, va="center", fontsize=8, color="#555555")
    canvas.axes.set_xlim(0, max(shares, default=1) * 1.22)
    canvas.axes.set_xlabel("multiply-accumulates, % of the file's")
    canvas.names([layer.name for layer in layers])
    return canvas


def times(layers: Sequence[Row], whole: Row | None) -> Canvas:
    """Per layer, the time in stock LiteRT and with our kernels, and its share of the layers'."""
    rows = [*layers, *([] if whole is None else [whole])]
    canvas = Canvas(1.5 * len(rows))
    axes = canvas.axes
    places = np.arange(len(rows))
    for label, values, colour, hatch, shift in (
        ("stock LiteRT", [row.stock_us for row in rows], _ORANGE, "////", -0.19),
        ("keras-accq", [row.ours_us for row in rows], _BLUE, "", 0.19),
    ):
        axes.barh(
            places + shift,
            values,
            height=0.35,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=label,
        )
    most = max(max(row.stock_us, row.ours_us) for row in rows)
    total = sum(row.stock_us for row in layers)
    for place, row in zip(places, rows, strict=True):
        end = {"xy": (max(row.stock_us, row.ours_us), place), "textcoords": "offset points"}
        axes.annotate(
            f"{row.ratio:.2f}x",
            **end,
            xytext=(5, 0),
            va="center",
            fontsize=9,
            fontweight="bold" if row.ratio >= 1 else "normal",
            color=_BLACK if row.ratio >= 1 else _GREY,
        )
        if row is not whole:
            share = f"{100 * row.stock_us / total:.0f} %"
            axes.annotate(share, **end, xytext=(40, 0), va="center", fontsize=8, color=_GREY)
    axes.set_xlim(0, most * 1.16)
    axes.set_xlabel("µs for one inference, median")
    canvas.names([row.name for row in rows])
    canvas.legend()
    return canvas


def accuracy(results: Sequence[Result]) -> Canvas:
    """Accuracy over accumulator bits, a line per method; bars span what was measured."""
    canvas = Canvas(0, least=4.0)
    axes = canvas.axes
    cases: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    floats = [100 * result.accuracy for result in results if result.acc_bits is None]
    for result in results:
        if result.acc_bits is not None:
            cases[result.method][result.acc_bits].append(100 * result.accuracy)
    for i, (method, by_bits) in enumerate(cases.items()):
        x = sorted(by_bits)
        means = [float(np.mean(by_bits[p])) for p in x]
        spread = [[m - min(by_bits[p]) for p, m in zip(x, means, strict=True)]]
        spread.append([max(by_bits[p]) - m for p, m in zip(x, means, strict=True)])
        axes.errorbar(
            x,
            means,
            yerr=spread,
            color=_SERIES[i % len(_SERIES)],
            marker=_MARKERS[i % len(_MARKERS)],
            linestyle=("-", "--", "-.", ":")[i // len(_SERIES) % 4],
            markersize=6,
            linewidth=1.6,
            capsize=3,
            label=method,
        )
    if floats:
        axes.axhline(
            float(np.mean(floats)), color=_GREY, linestyle=(0, (4, 3)), linewidth=1.2, label="float"
        )
    axes.grid(axis="y")
    axes.set_xlabel("accumulator bits P")
    axes.set_ylabel("accuracy, %")
    _whole_ticks(axes)
    canvas.legend()
    return canvas


def _whole_ticks(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=14, integer=True))


def _si(number: int) -> str:
    for size, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{suffix}"
    return str(number)
