"""Times stock LiteRT against keras-accq's kernels on this machine, layer by layer and whole.

Each layer is cut out and run in both forms in turns; outputs must be equal, medians are compared.
The file may hold built-ins or keras-accq's operators; it is not changed. The last lines say how
many operators the delegate ran, and what stays with LiteRT and why.

Examples:
  accq bench model.tflite
  accq bench model.tflite --threads 4 --samples 31
  accq bench model.tflite --kernel avx2_k4n16 --json > bench.json    for accq report --times
"""

import argparse

from keras_accq.cli.common import (
    MAX_THREADS,
    OK,
    add_json,
    add_model,
    check_count,
    tflite_bytes,
    with_progress,
)

HELP = "stock LiteRT against ours, per layer and whole"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--samples", type=int, default=101, metavar="N", help="measurements of each (101)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of both (1)")
    parser.add_argument("--kernel", metavar="NAME", help="of ours, for all layers; else the best")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from keras_accq.bench.measure import measure, table
    from keras_accq.certificate import short_name

    check_count("--samples", arguments.samples)
    check_count("--threads", arguments.threads, MAX_THREADS)
    bench = measure(
        tflite_bytes(arguments.file),
        samples=arguments.samples,
        kernel=arguments.kernel,
        threads=arguments.threads,
        progress=lambda layers: with_progress(layers, "layers"),
    )
    if arguments.json:
        print(bench.to_json())
        return OK
    threads = f"{bench.threads} thread{'' if bench.threads == 1 else 's'}"
    print(f"{arguments.file}, {threads}, {bench.machine}")
    print(table(bench.rows))
    print(bench.nodes)
    for name, reason in bench.left:
        print(f"left to stock LiteRT: {short_name(name)}: {reason}")
    return OK
