import struct
import time
import tracemalloc

import flatbuffers
import numpy as np
import pytest
import tflite_models as models
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.errors import InvalidFileError
from keras_accq.tflite.flat import Table, parse, serialize

RNG = np.random.default_rng(7)
SMALL = models.residual(RNG, size=3, channels=2)


def same(a, b):
    if isinstance(a, dict):
        return a.of == b.of and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


def finish(builder, root):
    builder.Finish(root, b"TFL3")
    return bytes(builder.Output())


def vector(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def table(builder, slots, **fields):
    """A table of `slots` fields; `fields` are offsets by f"s{slot}"."""
    builder.StartObject(slots)
    for name, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(int(name[1:]), offset, 0)
    return builder.EndObject()


def test_reads_what_the_object_api_wrote():
    model, unknown = parse(SMALL)
    expected = models.unpack(SMALL)
    assert unknown == []
    assert model["version"] == 3
    assert model["description"] == b"test"
    (graph,), (wanted,) = model["subgraphs"], expected.subgraphs
    assert [t["name"] for t in graph["tensors"]] == [t.name for t in wanted.tensors]
    for ours, theirs in zip(graph["tensors"], wanted.tensors, strict=True):
        assert ours.get("type", 0) == theirs.type
        np.testing.assert_array_equal(ours["shape"], theirs.shape)
        np.testing.assert_array_equal(ours["quantization"]["scale"], theirs.quantization.scale)
    for ours, theirs in zip(model["buffers"], expected.buffers, strict=True):
        assert ("data" in ours) == (theirs.data is not None)
        if theirs.data is not None:
            np.testing.assert_array_equal(ours["data"], theirs.data)


def test_writing_back_keeps_every_field():
    model, _ = parse(SMALL)
    again, unknown = parse(serialize(model))
    assert unknown == []
    assert same(model, again)


def test_keeps_a_field_that_holds_its_default():
    model = Table("Model", version=0, description=b"")
    again, _ = parse(serialize(model))
    assert dict(again) == {"version": 0, "description": b""}


def test_vectors_are_views_of_the_file():
    model, _ = parse(SMALL)
    whole = np.frombuffer(SMALL, np.uint8)
    data = [b["data"] for b in model["buffers"] if "data" in b]
    assert data
    assert all(np.shares_memory(d, whole) for d in data)


def test_written_buffers_are_aligned_to_16_bytes():
    buffers = [Table("Buffer", data=np.arange(n, dtype=np.uint8)) for n in (1, 2, 3, 17, 16, 5)]
    data = serialize(Table("Model", version=3, buffers=buffers))
    model, _ = parse(data)
    start = np.frombuffer(data, np.uint8).ctypes.data
    assert [(b["data"].ctypes.data - start) % 16 for b in model["buffers"]] == [0] * 6


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 7])
def test_too_short_to_be_a_file(data):
    with pytest.raises(InvalidFileError, match="empty or truncated"):
        parse(data)


def test_another_kind_of_file():
    with pytest.raises(InvalidFileError, match=r"is this a \.tflite file"):
        parse(b"PK\x03\x04 a zip archive")


@pytest.mark.parametrize("stop", range(8, len(SMALL), 13))
def test_truncated(stop):
    with pytest.raises(InvalidFileError):
        parse(SMALL[:stop])


def test_an_enormous_declared_size():
    builder = flatbuffers.Builder()
    data = bytearray(finish(builder, table(builder, 10, s3=builder.CreateString("description"))))
    place = data.index(struct.pack("<I", len("description")) + b"description")
    data[place : place + 4] = struct.pack("<I", 0xFFFFFFF0)
    with pytest.raises(InvalidFileError, match="claims 4294967280 elements of 1 bytes"):
        parse(bytes(data))


def test_vectors_that_alias_each_other_are_not_expanded():
    builder = flatbuffers.Builder()
    # 3,000 subgraphs that are one, of 3,000 tensors that are one: 9 million tensors in 24 KB.
    tensor = table(builder, 11)
    graph = table(builder, 6, s0=vector(builder, [tensor] * 3000))
    data = finish(builder, table(builder, 10, s2=vector(builder, [graph] * 3000)))
    assert len(data) < 30_000
    start = time.process_time()
    with pytest.raises(InvalidFileError, match="refers to the same bytes again and again"):
        parse(data)
    assert time.process_time() - start < 2
    tracemalloc.start()
    with pytest.raises(InvalidFileError):
        parse(data)
    assert tracemalloc.get_traced_memory()[1] < 100 * len(data)
    tracemalloc.stop()


def test_long_vtables_shared_by_many_tables_are_not_read_again_and_again():
    builder = flatbuffers.Builder()
    builder.StartObject(32_000)
    builder.PrependUOffsetTRelativeSlot(31_999, 0, 1)
    buffer = builder.EndObject()
    data = finish(builder, table(builder, 10, s4=vector(builder, [buffer] * 20_000)))
    start = time.process_time()
    with pytest.raises(InvalidFileError, match="again and again"):
        parse(data)
    assert time.process_time() - start < 2


def test_names_fields_and_options_of_a_newer_schema():
    builder = flatbuffers.Builder()
    builder.StartObject(12)
    builder.PrependInt32Slot(11, 5, 0)
    _, unknown = parse(finish(builder, builder.EndObject()))
    assert unknown == ["Model has 12 fields, 10 are known"]


def test_names_an_unknown_kind_of_options():
    model, _ = parse(SMALL)
    model["subgraphs"][0]["operators"][0]["builtin_options_type"] = 250
    _, unknown = parse(serialize(model))
    assert unknown == ["BuiltinOptions has type 250, 126 are known"]


@settings(max_examples=300, deadline=20_000)
@given(st.binary(max_size=400))
def test_random_bytes(tail):
    try:
        model, _ = parse(b"\x10\0\0\0TFL3" + tail)
    except InvalidFileError:
        return
    serialize(model)


@settings(max_examples=400, deadline=20_000)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=4))
def test_changed_bytes(changes):
    data = bytearray(SMALL)
    for place, value in changes:
        data[place] = value
    try:
        model, _ = parse(bytes(data))
    except InvalidFileError:
        return
    assert same(model, parse(serialize(model))[0]) or _has_nan(model)


def _has_nan(value):
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    if isinstance(value, list):
        return any(map(_has_nan, value))
    return bool(isinstance(value, np.ndarray | float) and np.isnan(value).any())
