"""Draws one self-contained HTML page about a .tflite file: accumulators, widths, spills, times.

The page needs no network and no script. Figures are in colours that the colour-blind tell apart,
and come as PNG files too, with --png. Needs matplotlib: pip install 'keras-accq[report]'.

Examples:
  accq report model.tflite report.html
  accq report model.tflite report.html --bench --png figures
  accq report model.tflite report.html --times bench.json --results recipe.json
"""

import argparse
import errno
import logging
from pathlib import Path

from keras_accq.cli.common import (
    MAX_THREADS,
    OK,
    UsageError,
    add_json,
    add_model,
    check_count,
    print_json,
    tflite_bytes,
    with_progress,
    with_status,
)
from keras_accq.errors import InvalidFileError
from keras_accq.files import check_folder

HELP = "an HTML page about a file, with figures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="where to write the .html")
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="write the figures there too")
    timed = parser.add_mutually_exclusive_group()
    timed.add_argument("--bench", action="store_true", help="measure times, as accq bench does")
    timed.add_argument(
        "--times", type=Path, metavar="JSON", help="take them from what accq bench --json printed"
    )
    parser.add_argument(
        "--samples", type=int, default=31, metavar="N", help="measurements of each layer (31)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of --bench (1)")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        default=(),
        metavar="DATA",
        help="accuracies to draw over accumulator bits: recipes of accq.search, or .jsonl files "
        'with "method", "acc_bits" and "test" in each line',
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from keras_accq.report.page import report

    if arguments.output.suffix not in (".html", ".htm"):
        raise UsageError(f"expected OUTPUT to end in .html, received {arguments.output}")
    check_folder(arguments.output)
    if arguments.png is not None and arguments.png.exists() and not arguments.png.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "expected a folder", str(arguments.png))
    check_count("--samples", arguments.samples)
    check_count("--threads", arguments.threads, MAX_THREADS)
    data = tflite_bytes(arguments.file)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # It tells of the fonts it found.
    from keras_accq.bench.measure import Bench, measure

    bench = None
    if arguments.times is not None:
        try:
            bench = Bench.from_json(arguments.times.read_bytes())
        except InvalidFileError as error:
            raise InvalidFileError(f"{arguments.times}: {error}") from None
    elif arguments.bench:
        bench = measure(
            data,
            samples=arguments.samples,
            threads=arguments.threads,
            progress=lambda layers: with_progress(layers, "layers"),
        )
    with with_status("drawing"):
        made = report(
            arguments.file,
            arguments.output,
            png=arguments.png,
            bench=bench,
            results=arguments.results,
        )
    written = [str(arguments.output)]
    if arguments.png is not None:
        written += [str(arguments.png / f"{name}.png") for name in made.images]
    if arguments.json:
        print_json({"format": 1, "written": written})
    else:
        print("\n".join(f"wrote {path}" for path in written))
    return OK
