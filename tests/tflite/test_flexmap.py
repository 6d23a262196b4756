import contextlib

import pytest
from flatbuffers import flexbuffers
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.errors import InvalidFileError
from keras_accq.tflite.flexmap import read_int_map

KEYS = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=60)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(st.dictionaries(KEYS, INTEGERS, max_size=30))
def test_reads_what_flatbuffers_writes(values):
    assert read_int_map(flexbuffers.Dumps(values)) == values


def test_reads_unsigned_integers():
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.UInt("a", 2**64 - 1)
    assert read_int_map(bytes(builder.Finish())) == {"a": 2**64 - 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2], "a map is 9"),
        (5, "a map is 9"),
        ({"a": 1.5}, "flexbuffer type 3 for 'a'"),
        ({"a": "b"}, "flexbuffer type 5 for 'a'"),
        ({"a": True}, "flexbuffer type 26 for 'a'"),
        ({"a": {"b": 1}}, "flexbuffer type 9 for 'a'"),
        ({f"key{i}": i for i in range(65)}, "65 entries"),
        ({"k" * 64: 1}, "a key of 64 bytes"),
    ],
)
def test_refuses_anything_else(value, text):
    with pytest.raises(InvalidFileError, match=text):
        read_int_map(bytes(flexbuffers.Dumps(value)))


def test_refuses_a_key_that_is_not_ascii():
    blob = bytes(flexbuffers.Dumps({"ab": 1})).replace(b"ab", b"\xc3\xa9")
    with pytest.raises(InvalidFileError, match="not ASCII"):
        read_int_map(blob)


def test_refuses_a_key_that_comes_twice():
    blob = bytes(flexbuffers.Dumps({"aa": 1, "ab": 2})).replace(b"ab", b"aa")
    with pytest.raises(InvalidFileError, match="'aa' twice"):
        read_int_map(blob)


BLOB = bytes(flexbuffers.Dumps({"version": 1, "acc_bits": 16, "stride_h": 70000}))


@pytest.mark.parametrize("start", range(1, len(BLOB)))
def test_truncated(start):
    with pytest.raises(InvalidFileError):
        read_int_map(BLOB[start:])


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: b + b"\x24\x01")))
def test_random_bytes(blob):
    try:
        values = read_int_map(blob)
    except InvalidFileError:
        return
    assert all(isinstance(value, int) for value in values.values())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(BLOB) - 1), st.integers(0, 255))
def test_changed_bytes(place, value):
    blob = bytearray(BLOB)
    blob[place] = value
    with contextlib.suppress(InvalidFileError):
        read_int_map(bytes(blob))
