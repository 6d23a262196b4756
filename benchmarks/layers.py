"""Time of every quantized layer of a `.tflite` file: stock LiteRT's kernel against ours.

    python benchmarks/layers.py model.tflite [--hide-avx512] [--json out.json]
    python benchmarks/layers.py model.keras --data cifar10.npz [--acc-bits 16]
    python benchmarks/layers.py --synthetic 3x3x96x96x32x32 [--constrained | --extreme]
    python benchmarks/layers.py --network all_cnn_c [--constrained | --extreme]

What `accq bench` does (see `keras_accq.bench.measure`), with layers made up and Keras models
quantized besides, and without the instructions that this CPU has and others lack.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras_accq as accq
from keras_accq.bench.alternate import fastest, medians
from keras_accq.bench.measure import Row, cpu_name, measure, measure_layer, table, total
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model", nargs="?", help="a .tflite file, int8 built-ins or custom ops; or .keras"
    )
    parser.add_argument("--synthetic", metavar="KHxKWxCINxCOUTxHxW", help="one such convolution")
    parser.add_argument("--network", metavar="NAME", help="layers of its shapes: networks.txt")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--constrained", action="store_true", help="their weights fit 16 bits")
    weights.add_argument("--extreme", action="store_true", help="their weights are all 127 or -127")
    parser.add_argument("--acc-bits", type=int, help="constrain a Keras model's weights to so many")
    parser.add_argument("--data", type=Path, help="a Keras model's images: keras_file.py")
    parser.add_argument("--hide-avx512", action="store_true", help="see hide_avx512.py")
    parser.add_argument("--kernel", help="of ours, for all layers; else the first of the table")
    parser.add_argument("--samples", type=int, default=101, help="measurements of each (101)")
    parser.add_argument("--threads", type=int, default=1, help="of each interpreter (1)")
    parser.add_argument(
        "--fastest", action="store_true", help="not the medians: for a busy machine"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures there too")
    arguments = parser.parse_args()
    sources = [arguments.model, arguments.synthetic, arguments.network]
    if sum(map(bool, sources)) != 1:
        parser.error("expected a model, --synthetic or --network")
    kind = "extreme" if arguments.extreme else "constrained" if arguments.constrained else "normal"
    if kind != "normal" and arguments.model:
        parser.error(f"--{kind} goes with --synthetic or --network")
    keras_model = (arguments.model or "").endswith((".keras", ".h5"))
    if (arguments.acc_bits or arguments.data) and not keras_model:
        parser.error("--acc-bits and --data go with a Keras model")

    machine = cpu_name()
    if arguments.hide_avx512:
        from hide_avx512 import hide_avx512

        hidden = hide_avx512()
        machine += ", AVX-512 and VNNI hidden"
    how = {
        "samples": arguments.samples,
        "kernel": arguments.kernel,
        "threads": arguments.threads,
        "summarize": fastest if arguments.fastest else medians,
    }
    if arguments.network:
        rows = measure_network(arguments.network, kind, **how)
    else:
        if keras_model:
            from keras_file import int8_file

            data = int8_file(Path(arguments.model), arguments.acc_bits, arguments.data)
        elif arguments.model:
            data = Path(arguments.model).read_bytes()
        else:
            from synthetic import convolution

            data = convolution(arguments.synthetic, weights=kind)
        measured = measure(data, **how)
        for name, reason in measured.left:
            print(f"left to stock: {name}: {reason}", file=sys.stderr)
        rows = measured.rows
    if arguments.hide_avx512 and not hidden.answers:
        raise RuntimeError("LiteRT did not ask for the CPU's features: nothing was hidden")
    if arguments.hide_avx512 and any("vnni" in row.kernel for row in rows):
        raise RuntimeError("the delegate took VNNI kernels: nothing was hidden from it")

    threads = "one thread" if arguments.threads == 1 else f"{arguments.threads} threads"
    times = "fastest" if arguments.fastest else "medians"
    what = arguments.model or f"{arguments.synthetic or arguments.network}, {kind} weights"
    print(f"{what}, {threads}, {times} of {arguments.samples}, {machine}")
    print(table(rows))
    if arguments.json:
        document = {"machine": machine, "rows": [asdict(row) for row in rows]}
        Path(arguments.json).write_text(json.dumps(document, indent=1) + "\n")
    return 0


def measure_network(name: str, weights: str, **how: Any) -> list[Row]:
    """One row per shape of a network's layers, and their total; `how` is measure_layer's."""
    from synthetic import layer, network

    rows, times = [], []
    for shape in network(name):
        custom = accq.rewrite(layer(shape, weights=weights)).model
        (op,) = quantized_ops(load(custom))
        row = measure_layer(custom, op, **how)
        row.name = str(shape) + (f", {shape.times} times" if shape.times > 1 else "")
        rows.append(row)
        times.append(shape.times)
    every = [row for row, count in zip(rows, times, strict=True) for _ in range(count)]
    return [*rows, total("all layers", every)]


if __name__ == "__main__":
    sys.exit(main())
