"""Shows what narrow accumulators would do to a .tflite file's layers on given inputs.

Each layer is recomputed through P-bit accumulators from the inputs that LiteRT gave it, and its
outputs are compared with LiteRT's. Exit status 1 means that some output overflowed. Without
--inputs random ones are taken, which shows that the command works and little about the model.

Examples:
  accq simulate model.tflite --inputs images.npy
  accq simulate model.tflite --inputs images.npz --acc_bits 14 --arithmetic saturate
  accq simulate model.tflite --samples 4 --tile 64 --json
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from keras_accq.cli.common import (
    CHECK_FAILED,
    OK,
    UsageError,
    add_json,
    add_model,
    check_count,
    print_json,
    tflite_bytes,
    with_progress,
)

HELP = "what narrow accumulators would do on real inputs"
_SAMPLES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="DATA",
        help="samples in the model's own type: .npy for one input, .npz with an array per input "
        "name for several",
    )
    parser.add_argument(
        "--samples", type=int, metavar="N", help=f"take the first N inputs; random ones: {_SAMPLES}"
    )
    parser.add_argument(
        "--arithmetic",
        choices=("exact", "wrap", "saturate"),
        default="exact",
        help="what happens at an overflow: it is counted (exact), or taken modulo 2^P too (wrap), "
        "or the sum stops at the limit too (saturate)",
    )
    parser.add_argument("--acc_bits", type=int, metavar="P", help="default: what each layer claims")
    parser.add_argument(
        "--tile", type=int, metavar="T", help="T consecutive products share an accumulator"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from keras_accq.bounds import Partition
    from keras_accq.simulate import simulate

    check_count("--samples", arguments.samples)
    check_count("--tile", arguments.tile)
    data = tflite_bytes(arguments.file)
    if arguments.inputs is None:
        inputs = _random(data, _SAMPLES if arguments.samples is None else arguments.samples)
        print("accq simulate: no --inputs, so random ones", file=sys.stderr)
    else:
        inputs = _read(arguments.inputs, arguments.samples)
    result = simulate(
        data,
        inputs,
        arithmetic=arguments.arithmetic,
        acc_bits=arguments.acc_bits,
        partition=None if arguments.tile is None else Partition.of_tile(arguments.tile),
        progress=lambda layers: with_progress(layers, "layers"),
    )
    if arguments.json:
        print_json(
            {
                "format": 1,
                "arithmetic": result.arithmetic,
                "overflows": result.overflows,
                "differences": result.differences,
                "ops": [
                    {
                        "index": op.index,
                        "name": op.name,
                        "kind": op.kind,
                        "acc_bits": op.acc_bits,
                        "partition": str(op.partition),
                        "outputs": op.output.size,
                        "overflows": op.overflows.tolist(),
                        "differences": op.differences,
                    }
                    for op in result.ops
                ],
                "excluded": [{"name": op.name, "reason": op.reason} for op in result.excluded],
            }
        )
    else:
        print(result)
    return CHECK_FAILED if result.overflows else OK


def _read(path: Path, samples: int | None) -> Any:
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise OSError(f"{path}: no .npy or .npz file: {error}") from None
    if isinstance(loaded, np.ndarray):
        return loaded[:samples]
    with loaded:
        arrays = {name: loaded[name][:samples] for name in loaded.files}
    # The name does not matter where there is nothing to mix up.
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def _random(data: bytes, samples: int) -> Any:
    import numpy as np

    from keras_accq.tflite.reader import load

    random = np.random.default_rng(0)
    graph = load(data).subgraphs[0]
    arrays = []
    for tensor in (graph.tensors[index] for index in graph.inputs):
        batch, *rest = tensor.shape or (1,)
        shape = (samples * batch, *rest)
        if tensor.type == "INT8":
            arrays.append(random.integers(-128, 128, shape).astype(np.int8))
        elif tensor.type == "FLOAT32":
            arrays.append(random.standard_normal(shape).astype(np.float32))
        else:
            raise UsageError(
                f"input {tensor.name!r} is {tensor.type}: random ones are made of INT8 and FLOAT32 "
                "only; give --inputs"
            )
    return arrays
