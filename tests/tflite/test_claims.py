import json

import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema

from keras_accq.bounds import Partition
from keras_accq.errors import InvalidFileError
from keras_accq.tflite.claims import METADATA_NAME, Claim, encode_claims, read_claims
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load

MODEL = models.fully_connected(np.ones((2, 4)), [1, 4])


def with_metadata(content):
    model = models.unpack(MODEL)
    model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
    model.metadata = [schema.MetadataT(name=METADATA_NAME.encode(), buffer=len(model.buffers) - 1)]
    return load(models.pack(model))


def test_round_trip():
    claims = {
        (1, "b"): Claim(14, Partition("runs", 64)),
        (0, "ä;x"): Claim(16, Partition()),
        (0, "dense"): Claim(32, Partition("lanes", 8)),
        (0, "none"): Claim(12, None),
    }
    content = encode_claims(claims)
    assert read_claims(with_metadata(content)) == claims
    assert encode_claims(dict(reversed(claims.items()))) == content


def test_a_file_without_the_entry_claims_nothing():
    assert read_claims(load(MODEL)) == {}


def test_the_entry_names_the_package():
    document = json.loads(encode_claims({}))
    assert document["package"] == "keras-accq"
    assert "accq.Interpreter" in document["about"]


def test_builtins_have_their_claims():
    model = with_metadata(encode_claims({(0, "dense"): Claim(14, Partition())}))
    (op,) = quantized_ops(model)
    assert (op.acc_bits, op.partition) == (14, Partition())


def claim(**changes):
    entry = {"subgraph": 0, "tensor": "x", "acc_bits": 16, "partition": 1, "partition_size": 0}
    return {"format": 1, "claims": [{**entry, **changes}]}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (3, "expected format 1, came 3"),
        ([], r"expected format 1, came \[\]"),
        ({"format": 2}, "expected format 1, came 2; install"),
        ({"format": 1, "claims": 5}, "'claims' is no list"),
        ({"format": 1, "claims": [5]}, "claim 0 is damaged"),
        ({"format": 1, "claims": [{}]}, "claim 0 is damaged"),
        (claim(acc_bits=1), "acc_bits of 2 to 32, came 0, 'x', 1"),
        (claim(acc_bits=33), "acc_bits of 2 to 32"),
        (claim(acc_bits=True), "acc_bits of 2 to 32"),
        (claim(acc_bits="16"), "acc_bits of 2 to 32"),
        (claim(tensor=["x"]), "acc_bits of 2 to 32"),
        (claim(subgraph=None), "acc_bits of 2 to 32"),
        (claim(partition=7), "claim 0 is damaged"),
        (claim(partition=[]), "claim 0 is damaged"),
        (claim(partition=2, partition_size="a"), "claim 0 is damaged"),
        (claim(partition=2, partition_size=0), "claim 0 is damaged"),
    ],
)
def test_damaged(document, text):
    with pytest.raises(InvalidFileError, match=text):
        read_claims(with_metadata(json.dumps(document).encode()))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"[" * 100_000, b"1" * 10_000])
def test_no_json(content):
    with pytest.raises(InvalidFileError, match="expected JSON"):
        read_claims(with_metadata(content))
