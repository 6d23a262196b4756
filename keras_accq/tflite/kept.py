"""The certificate that a file of built-ins carries along, as TFLite metadata.

A record for people and tools that do not have keras-accq. Nothing here reads it back as truth:
`verify` computes its own from the weights, and `kept_agrees` says whether the record still
describes the file that it lies in.
"""

import json
from typing import Any

from keras_accq.certificate import Certificate, OpCertificate
from keras_accq.tflite.options import partition_options
from keras_accq.tflite.reader import Model

METADATA_NAME = "keras_accq_certificate"
_FORMAT = 1
_TEXT = (
    "What this file's weights proved about the accumulators of its int8 dot products when it was "
    "written by keras-accq. Do not trust it: accq.verify(file) computes it again from the bytes"
)


def encode_certificate(certificate: Certificate) -> bytes:
    """The content of the metadata entry; equal certificates give equal bytes.

    Of each operator's channels only the worst is kept, and the hash not at all: a file can not
    hold its own.
    """
    document = {
        "format": _FORMAT,
        "package": "keras-accq",
        "about": _TEXT,
        "verdict": certificate.verdict,
        "ops": [_op(op) for op in certificate.ops],
        "excluded": [
            {"subgraph": op.subgraph, "tensor": op.name, "op": op.op, "reason": op.reason}
            for op in certificate.excluded
        ],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()


def _op(op: OpCertificate) -> dict[str, Any]:
    return {
        "subgraph": op.subgraph,
        "tensor": op.name,
        "kind": op.kind,
        "k": op.k,
        "channels": op.channels,
        "claimed": op.partition is not None,
        "acc_bits": op.acc_bits,
        **partition_options(op.partition),
        "in_min": op.in_min,
        "in_max": op.in_max,
        "worst_case": max(op.worst_case),
        "limit": op.limit,
        "least_acc_bits": op.least_acc_bits,
    }


def kept_agrees(model: Model, certificate: Certificate) -> bool | None:
    """Whether the certificate that a file carries is the one that its bytes give.

    Args:
        model: The file.
        certificate: What `verify` made of it.

    Returns:
        None where it carries none.
    """
    content = model.metadata.get(METADATA_NAME)
    return None if content is None else bytes(content) == encode_certificate(certificate)
