"""The metadata entry that keras-accq leaves in the files it writes.

It names the package, for whoever meets a custom operator without it, and keeps what built-in
operators have no field for: the accumulator width and partition that each dot product was made
for. Claims are never trusted: `verify` checks them against the weights.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_accq.bounds import Partition
from keras_accq.errors import InvalidFileError
from keras_accq.tflite.options import option_partition, partition_options
from keras_accq.tflite.reader import Model

METADATA_NAME = "keras_accq"
_FORMAT = 1
_TEXT = (
    "Accq* operators run with the delegate of keras-accq: accq.Interpreter, or accq.load_delegate "
    "in any TFLite runtime; accq.rewrite(file, ops='builtin') replaces them by built-ins"
)


class Claim(NamedTuple):
    """What one built-in dot product was made for."""

    acc_bits: int
    partition: Partition | None


# A built-in is found again by its subgraph and the name of its output tensor.
Claims = Mapping[tuple[int, str], Claim]


def encode_claims(claims: Claims) -> bytes:
    """The content of the metadata entry; equal claims give equal bytes."""
    document = {
        "format": _FORMAT,
        "package": "keras-accq",
        "about": _TEXT,
        "claims": [
            {
                "subgraph": subgraph,
                "tensor": tensor,
                "acc_bits": claim.acc_bits,
                **partition_options(claim.partition),
            }
            for (subgraph, tensor), claim in sorted(claims.items(), key=lambda item: item[0])
        ],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()


def read_claims(model: Model) -> dict[tuple[int, str], Claim]:
    """The claims in a model's metadata; empty when there are none.

    Raises:
        InvalidFileError: The entry is damaged or of a newer format.
    """
    content = model.metadata.get(METADATA_NAME)
    if content is None:
        return {}
    try:
        document = json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(
            f"metadata {METADATA_NAME!r}: expected JSON; remove the entry or write the file again"
        ) from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        found = document.get("format") if isinstance(document, dict) else document
        raise InvalidFileError(
            f"metadata {METADATA_NAME!r}: expected format {_FORMAT}, came {found!r}; install the "
            "keras-accq that wrote the file, or a newer one"
        )
    entries = document.get("claims", [])
    if not isinstance(entries, list):
        raise InvalidFileError(f"metadata {METADATA_NAME!r}: 'claims' is no list")
    return dict(_claim(i, entry) for i, entry in enumerate(entries))


def _claim(index: int, entry: Any) -> tuple[tuple[int, str], Claim]:
    try:
        subgraph, tensor, bits = entry["subgraph"], entry["tensor"], entry["acc_bits"]
        partition = option_partition(entry)
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidFileError(
            f"metadata {METADATA_NAME!r}: claim {index} is damaged ({error})"
        ) from error
    integers = isinstance(subgraph, int) and isinstance(bits, int) and not isinstance(bits, bool)
    if not integers or not isinstance(tensor, str) or not 2 <= bits <= 32:
        raise InvalidFileError(
            f"metadata {METADATA_NAME!r}: claim {index} is damaged: expected a subgraph, a tensor "
            f"name and acc_bits of 2 to 32, came {subgraph!r}, {tensor!r}, {bits!r}"
        )
    return (subgraph, tensor), Claim(bits, partition)
