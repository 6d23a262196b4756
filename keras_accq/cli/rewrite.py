"""Exchanges a .tflite file's int8 built-ins for keras-accq's operators, or back; same outputs.

No training and no data are needed: sums are widened from 16 to 32 bits exactly where the weights
could overflow 16. With --ops builtin the operators become built-ins again, for a file that every
TFLite runtime can run. A .keras model that accq.quantize made is converted, certified and written;
its options are the last three.

Examples:
  accq rewrite model.tflite model16.tflite
  accq rewrite model16.tflite portable.tflite --ops builtin
  accq rewrite qmodel.keras model16.tflite --input_type float32
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from keras_accq.cli.common import (
    OK,
    UsageError,
    add_json,
    add_model,
    check_count,
    is_keras,
    print_json,
    quantized_model,
    with_status,
)
from keras_accq.files import check_folder

HELP = "16-bit sums for any int8 file, or built-ins again; converts .keras models"
_TYPES = ("int8", "float32")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, ".tflite or .keras")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="where to write the .tflite")
    parser.add_argument(
        "--ops",
        choices=("custom", "builtin"),
        default="custom",
        help="custom (default): keras-accq's operators; builtin: what runs anywhere",
    )
    only = parser.add_argument_group("for .keras models")
    only.add_argument("--batch_size", type=int, metavar="N", help="of the file (1)")
    only.add_argument("--input_type", choices=_TYPES, help="of the file (int8)")
    only.add_argument("--output_type", choices=_TYPES, help="of the file (int8)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    keys = ("batch_size", "input_type", "output_type")
    options = {key: value for key in keys if (value := getattr(arguments, key)) is not None}
    if arguments.output.suffix != ".tflite":
        raise UsageError(f"expected OUTPUT to end in .tflite, received {arguments.output}")
    check_folder(arguments.output)
    if is_keras(arguments.file):
        return _convert(arguments, options)
    if options:
        raise UsageError(f"{', '.join(f'--{key}' for key in options)}: only for a .keras model")
    from keras_accq.tflite.rewrite import rewrite

    report = rewrite(arguments.file, arguments.output, ops=arguments.ops)
    if arguments.json:
        print_json(
            {
                "format": 1,
                "output": str(arguments.output),
                "taken": [asdict(op) for op in report.taken],
                "kept": [asdict(op) for op in report.kept],
            }
        )
    else:
        print(report)
        print(f"wrote {arguments.output}, {len(report.model)} bytes")
    return OK


def _convert(arguments: argparse.Namespace, options: dict[str, object]) -> int:
    check_count("--batch_size", arguments.batch_size)
    qmodel = quantized_model(arguments.file)
    from keras_accq.tflite.convert import convert

    with with_status("converting"):
        certificate = convert(qmodel, arguments.output, ops=arguments.ops, **options)  # type: ignore[arg-type]
    print(certificate.to_json() if arguments.json else certificate)
    return OK
