"""The page: one HTML file that needs no network, no script and nothing beside it."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from keras_accq import __version__
from keras_accq.bench.measure import Bench
from keras_accq.certificate import Certificate, OpCertificate, short_name
from keras_accq.files import write_atomically
from keras_accq.report import figures
from keras_accq.report.results import Result, read_results
from keras_accq.tflite.profile import LayerProfile, profile
from keras_accq.tflite.reader import load
from keras_accq.verify import verify

_CSS = """
:root { --ink: #1f2328; --soft: #5c6670; --line: #e3e6ea; --good: #00664d; --bad: #a33f00; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .25rem; }
p { margin: 0 0 .9rem; max-width: 46rem; }
.soft, figcaption { color: var(--soft); }
.small { font-size: .85rem; overflow-wrap: anywhere; }
.verdict { border-left: .35rem solid var(--good); background: #fff; padding: .8rem 1.1rem;
  margin: 1.3rem 0; border-radius: .3rem; overflow-wrap: anywhere; }
.verdict.bad { border-color: var(--bad); }
.verdict span { display: block; font-weight: 700; color: var(--good); }
.verdict.bad span { color: var(--bad); }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr));
  gap: .8rem; margin: 1.3rem 0; }
.tiles div { background: #fff; border: 1px solid var(--line); border-radius: .5rem;
  padding: .7rem .9rem; display: flex; flex-direction: column; justify-content: space-between; }
.tiles dt { color: var(--soft); font-size: .8rem; }
.tiles dd { margin: 0; font-size: 1.2rem; font-weight: 650; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
section { background: #fff; border: 1px solid var(--line); border-radius: .6rem;
  padding: 1.3rem 1.4rem; margin: 1.1rem 0; break-inside: avoid; }
figure { margin: .6rem 0 0; }
figure svg { width: 100%; min-width: 40rem; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .79rem; width: 100%;
  font-variant-numeric: tabular-nums; }
th { text-align: right; color: var(--soft); font-weight: 600; white-space: nowrap; }
td { text-align: right; white-space: nowrap; }
th, td { padding: .32rem .45rem; border-bottom: 1px solid var(--line); }
th.text, td.text { text-align: left; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
tr:last-child td { border-bottom: 0; }
.no { color: var(--bad); font-weight: 700; }
@media print { body { background: #fff; } main { max-width: none; padding: 0; } }
"""

# The browser refuses whatever the page could ask for: scripts, fonts, images from elsewhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Report:
    """What `report` made.

    Attributes:
        html: The page.
        images: Name -> PNG file of each figure.
    """

    html: str = field(repr=False)
    images: Mapping[str, bytes] = field(repr=False)


def report(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    png: str | os.PathLike[str] | None = None,
    bench: Bench | None = None,
    results: Iterable[str | os.PathLike[str]] = (),
) -> Report:
    """Draws one self-contained HTML page about a `.tflite` file.

    Accumulators per channel against their limits, bit widths, spills, where the work or the time
    goes, stock LiteRT against ours, and accuracy over accumulator bits. Needs the extra [report].

    Args:
        source: The file's path.
        path: Where to write the page, whole or not at all; None writes nothing.
        png: A folder for the figures as PNG files; made if missing. None writes none.
        bench: Times: what `keras_accq.bench.measure.measure` gives, or `Bench.from_json` of what
            `accq bench --json` printed.
        results: Files of accuracies: recipes, or what benchmarks/accuracy.py wrote.

    Raises:
        ImportError: matplotlib is missing.
        InvalidFileError: A file is damaged.
        OSError: A file can not be read or written.
        ValueError: The times are of another file.
    """
    data = Path(source).read_bytes()
    model = load(data)
    certificate = verify(data)
    places = {(op.subgraph, op.index) for op in certificate.ops}
    layers = [layer for layer in profile(model) if (layer.subgraph, layer.index) in places]
    names = {op.name for op in certificate.ops}
    foreign = [row.name for row in bench.layers if row.name not in names] if bench else []
    if foreign:
        raise ValueError(f"bench: expected times of {source}, which has no layer {foreign[0]!r}")
    accuracies = read_results(results)
    with figures.style():
        drawn = _draw(certificate, layers, bench, accuracies)
        html = _page(Path(source).name, len(data), certificate, layers, bench, drawn)
        made = Report(html, {name: canvas.png() for name, (_, _, canvas) in drawn.items()})
    if png is not None:
        Path(png).mkdir(parents=True, exist_ok=True)
        for name, image in made.images.items():
            write_atomically(Path(png) / f"{name}.png", image)
    if path is not None:
        write_atomically(path, html.encode())
    return made


def _draw(
    certificate: Certificate,
    layers: list[LayerProfile],
    bench: Bench | None,
    results: list[Result],
) -> dict[str, tuple[str, str, figures.Canvas]]:
    """Name -> heading, text, figure."""
    ops = certificate.ops
    drawn = {}
    if ops:
        drawn["accumulators"] = (
            "Accumulators",
            "Each mark is an output channel: the accumulator that the largest partial sum of its "
            "products can need, for any input, computed from the weights and the input range. "
            "Marks up to the black bar fit it. Where a layer claims nothing, the kernels widen "
            "their sums in time, and the results are exact all the same.",
            figures.accumulators(ops),
        )
        drawn["widths"] = (
            "Bit widths",
            "Of the narrowest integers that hold all of a layer's weights, its inputs, and any sum "
            "of its products.",
            figures.widths(layers, ops),
        )
        drawn["spills"] = (
            "Spills",
            "How often the 16-bit kernels must widen their sums to 32 bits. Weights that were "
            "trained for the accumulator need it at the end of a sum only. "
            "+ int32: where that would be so often that a kernel multiplies in 32 bits at once.",
            figures.spills(ops),
        )
    if bench is not None:
        threads = f"{bench.threads} thread{'' if bench.threads == 1 else 's'}"
        drawn["times"] = (
            "Time",
            f"Measured on {bench.machine}, {threads}, in turns in one process; outputs equal. The "
            "numbers: how many times faster ours is, and a layer's share of what all layers take "
            f"in stock LiteRT. Node counts: {bench.nodes}.",
            figures.times(bench.layers, bench.whole),
        )
    elif ops:
        drawn["work"] = (
            "Work",
            "Multiply-accumulates of one inference. Nothing was measured for this page: give "
            "accq report --bench for times.",
            figures.work(layers),
        )
    if results:
        drawn["accuracy"] = (
            "Accuracy",
            f"Of {len(results)} networks that were measured elsewhere: means, and bars from the "
            "least to the most.",
            figures.accuracy(results),
        )
    return drawn


def _page(
    name: str,
    size: int,
    certificate: Certificate,
    layers: list[LayerProfile],
    bench: Bench | None,
    drawn: Mapping[str, tuple[str, str, figures.Canvas]],
) -> str:
    sections = [
        f'<section id="{key}"><h2>{escape(heading)}</h2><figure><figcaption>{escape(text)}'
        f'</figcaption><div class="scroll">{canvas.svg(heading)}</div></figure></section>'
        for key, (heading, text, canvas) in drawn.items()
    ]
    claimed = any(op.partition is not None for op in certificate.ops)
    holds, tone = "What the file claims holds", ""
    if not certificate.ok:
        holds, tone = "What the file claims does NOT hold", " bad"
    elif not claimed:
        holds = "The file claims nothing that could fail"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{escape(name)}: accumulators</title>
<style>{_CSS}</style>
</head>
<body><main>
<h1>{escape(name)}</h1>
<p class="soft">What its bytes prove about the accumulators of its int8 dot products.</p>
<div class="verdict{tone}"><span>{holds}</span>{escape(certificate.verdict)}</div>
{_tiles(size, certificate, layers, bench)}
{"".join(sections)}
{_table(certificate, layers)}
<p class="soft small">SHA-256 {certificate.sha256}<br>keras-accq {__version__}; the same as text:
accq verify {escape(name)}</p>
</main></body>
</html>
"""


def _tiles(
    size: int, certificate: Certificate, layers: list[LayerProfile], bench: Bench | None
) -> str:
    channels = [case for op in certificate.ops for case in op.worst_case]
    weights = sum(layer.k * layer.channels for layer in layers)
    zeros = sum(layer.zeros * layer.k * layer.channels for layer in layers)
    within = sum(case <= op.limit for op in certificate.ops for case in op.worst_case)
    tiles = [
        ("dot products covered", f"{len(layers)} of {len(layers) + len(certificate.excluded)}"),
        ("channels within P", f"{within} of {len(channels)}"),
        ("multiply-accumulates", f"{sum(layer.macs for layer in layers) / 1e6:.4g} M"),
        ("weights", f"{weights / 1000:.4g} k"),
        ("of them zero", f"{zeros / weights:.0%}" if weights else "none"),
        ("file", f"{size / 1024:.4g} KiB"),
    ]
    if bench is not None and bench.whole is not None:
        tiles.insert(0, ("faster than stock", f"{bench.whole.ratio:.2f}x"))
    cells = (f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in tiles)
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _table(certificate: Certificate, layers: list[LayerProfile]) -> str:
    heads = (
        *("layer", "operator", "claim", "K", "channels", "inputs", "N", "M", "zeros"),
        *("worst case / limit", "least P", "tile"),
    )
    text = {"layer", "operator", "claim"}
    head = "".join(
        f'<th class="text">{name}</th>' if name in text else f"<th>{name}</th>" for name in heads
    )
    rows = [_row(op, layer) for op, layer in zip(certificate.ops, layers, strict=True)]
    rows += [
        f'<tr><td class="text name">{escape(short_name(op.name))}</td><td class="text">'
        f'{escape(op.op)}</td><td class="text name" colspan="10">not covered: {escape(op.reason)}'
        "</td></tr>"
        for op in certificate.excluded
    ]
    if not rows:
        return "<section><h2>Layers</h2><p>The file has no dot products.</p></section>"
    return (
        f'<section id="layers"><h2>Layers</h2><div class="scroll"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _row(op: OpCertificate, layer: LayerProfile) -> str:
    worst = str(max(op.worst_case))
    if op.broken:
        worst = f'<span class="no">{worst} overflows</span>'
    cells = [escape(short_name(op.name)), escape(layer.op), escape(op.claim)]
    numbers = [
        str(op.k),
        str(op.channels),
        f"{op.in_min} … {op.in_max}",
        str(layer.input_bits),
        str(layer.weight_bits),
        f"{layer.zeros:.0%}",
        f"{worst} / {op.limit}",
        str(op.least_acc_bits),
        str(op.largest_safe_tile),
    ]
    texts = "".join(
        f'<td class="text{" name" if i == 0 else ""}">{cell}</td>' for i, cell in enumerate(cells)
    )
    return f"<tr>{texts}{''.join(f'<td>{cell}</td>' for cell in numbers)}</tr>"
