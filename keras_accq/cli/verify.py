"""Proves, from a .tflite file's own bytes, how wide the accumulators of its dot products must be.

Nothing is run and nothing that the file says of itself is believed: the worst cases come from the
int8 weights and from the input ranges that the operators clamp to. Exit status 1 means that an
operator claims an accumulator that its weights overflow, or that --acc_bits is not met.

Examples:
  accq verify model.tflite                  the table, and the verdict as its last line
  accq verify model.tflite --acc_bits 16    also: every dot product fits one 16-bit accumulator
  accq verify model.tflite --json | jq .verdict
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from keras_accq.bounds import check_acc_bits
from keras_accq.cli.common import CHECK_FAILED, OK, add_json, add_model, tflite_bytes

if TYPE_CHECKING:
    from keras_accq.certificate import Certificate

HELP = "what a file's bytes prove about its accumulators"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--acc_bits",
        type=int,
        metavar="P",
        help="fail unless every dot product of the file fits a monolithic P-bit accumulator",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from keras_accq.verify import verify

    if arguments.acc_bits is not None:
        check_acc_bits(arguments.acc_bits)
    certificate = verify(tflite_bytes(arguments.file))
    problems = [] if certificate.ok else ["a claim does not hold"]
    if arguments.acc_bits is not None:
        problems += _wider_than(arguments.acc_bits, certificate)
    if arguments.json:
        print(json.dumps(json.loads(certificate.to_json()) | {"problems": problems}, indent=1))
    else:
        print(certificate)
    for problem in problems:
        print(f"accq verify: {problem}", file=sys.stderr)
    return CHECK_FAILED if problems else OK


def _wider_than(acc_bits: int, certificate: "Certificate") -> list[str]:
    from keras_accq.certificate import short_name

    return [
        f"{short_name(op.name)}: needs {op.least_acc_bits} bits, more than --acc_bits {acc_bits}"
        for op in certificate.ops
        if op.least_acc_bits > acc_bits
    ] + [f"{short_name(op.name)}: not covered: {op.reason}" for op in certificate.excluded]
