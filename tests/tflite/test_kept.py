import json

import numpy as np
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema

from keras_accq import Partition, rewrite, verify
from keras_accq.tflite.fuse import Constraint
from keras_accq.tflite.kept import METADATA_NAME, kept_agrees
from keras_accq.tflite.reader import load

INT8 = models.conv2d(np.full((2, 3, 3, 4), 3), [1, 6, 6, 4])
(OP,) = verify(INT8).ops
CLAIM = {OP.name: Constraint(16, Partition(), in_min=-32, in_max=31)}


def _portable():
    return rewrite(INT8, ops="builtin", constraints=CLAIM).model


def _with_certificate(data, change):
    """The file with another document in the entry, and every other byte's meaning as it was."""
    model = models.unpack(data)
    (entry,) = [m for m in model.metadata if m.name == METADATA_NAME.encode()]
    document = json.loads(bytes(model.buffers[entry.buffer].data))
    change(document)
    content = json.dumps(document).encode()
    model.buffers[entry.buffer] = schema.BufferT(data=np.frombuffer(content, np.uint8))
    return models.pack(model)


def test_a_portable_file_carries_what_verify_finds():
    data = _portable()
    document = json.loads(bytes(load(data).metadata[METADATA_NAME]))
    certificate = verify(data)
    assert document["format"] == 1
    assert document["package"] == "keras-accq"
    assert document["verdict"] == certificate.verdict == "P = 16 monolithic: all 1 op"
    (kept,) = document["ops"]
    (op,) = certificate.ops
    assert not op.custom
    assert kept["worst_case"] == max(op.worst_case) == 36 * 3 * 32
    assert (kept["tensor"], kept["in_min"], kept["in_max"]) == (OP.name, -32, 31)
    assert kept["least_acc_bits"] == op.least_acc_bits
    assert kept_agrees(load(data), certificate) is True


def test_verify_believes_the_weights_and_not_the_record():
    def boast(document):
        document["verdict"] = "P = 4 monolithic: all 1 op"
        document["ops"][0].update(worst_case=1, acc_bits=4, limit=7)

    data = _with_certificate(_portable(), boast)
    assert verify(data).verdict == "P = 16 monolithic: all 1 op"
    assert kept_agrees(load(data), verify(data)) is False


def test_the_claim_breaks_with_the_weights_whatever_the_record_says():
    data = bytearray(_portable())
    weights = np.full(36, 3, np.int8).tobytes()
    at = bytes(data).index(weights)
    data[at : at + 36] = np.full(36, 127, np.int8).tobytes()
    certificate = verify(bytes(data))
    assert not certificate.ok
    assert kept_agrees(load(bytes(data)), certificate) is False


def test_without_its_clamp_the_claim_does_not_hold():
    """The operand's range is in the operators, not in the record."""
    strong = models.conv2d(np.full((2, 3, 3, 4), 20), [1, 6, 6, 4])
    model = models.unpack(rewrite(strong, ops="builtin", constraints=CLAIM).model)
    assert verify(models.pack(model)).ok
    graph = model.subgraphs[0]
    conv = graph.operators[-1]
    conv.inputs[0] = graph.inputs[0]
    graph.operators = [conv]
    assert not verify(models.pack(model)).ok


def test_custom_files_and_unclaimed_ones_carry_none():
    back = rewrite(_portable())
    assert METADATA_NAME not in load(back.model).metadata
    again = rewrite(back.model, ops="builtin")
    assert METADATA_NAME in load(again.model).metadata
    lossless = rewrite(rewrite(INT8).model, ops="builtin").model
    assert kept_agrees(load(lossless), verify(lossless)) is None
