import json
from pathlib import Path

import pytest
from flatbuffers import flexbuffers
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.bounds import Partition
from keras_accq.errors import InvalidFileError
from keras_accq.tflite import options

GOLDEN = json.loads((Path(__file__).parent / "golden_options_v1.json").read_text())


@pytest.mark.parametrize("entry", GOLDEN, ids=[entry["name"] for entry in GOLDEN])
def test_blobs_of_version_1_are_read_for_ever(entry):
    assert options.decode(entry["op"], bytes.fromhex(entry["hex"])) == entry["options"]


def test_golden_blobs_cover_every_operator_and_key():
    for op, keys in options.KEYS.items():
        entries = [entry["options"] for entry in GOLDEN if entry["op"] == op]
        for key in keys.keys() - {"version"}:
            assert len({entry[key] for entry in entries}) > 1, (op, key)


@pytest.mark.parametrize("entry", GOLDEN, ids=[entry["name"] for entry in GOLDEN])
def test_blobs_of_version_1_are_still_written(entry):
    if entry["written"]:
        assert options.encode(entry["op"], entry["options"]).hex() == entry["hex"]


@st.composite
def valid_options(draw, op):
    values = {
        key: draw(st.integers(limits.low, limits.high)) for key, limits in options.KEYS[op].items()
    }
    for side in ("in", "out"):
        low, high = sorted((values[f"{side}_min"], values[f"{side}_max"]))
        values |= {f"{side}_min": low, f"{side}_max": high}
    if values["partition"] in (options.RUNS, options.LANES):
        values["partition_size"] = max(1, values["partition_size"])
    else:
        values["partition_size"] = 0
    return values


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(options.KEYS)))
def test_round_trip(data, op):
    values = data.draw(valid_options(op))
    assert options.decode(op, options.encode(op, values)) == values


@pytest.mark.parametrize("op", options.KEYS)
def test_missing_keys_have_their_defaults(op):
    blob = bytes(flexbuffers.Dumps({"version": 1}))
    expected = {key: limits.default for key, limits in options.KEYS[op].items()}
    assert options.decode(op, blob) == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"acc_bits": 16}, "have no 'version'"),
        ({"version": 2}, r"have version 2, keras-accq [\d.]+ reads 1; install .* newer"),
        ({"version": 2, "rounding": 1}, "have version 2"),
        ({"version": 0}, r"'version' must be in \[1, 1\], came 0"),
        ({"version": 1, "rounding": 1}, "unknown option 'rounding', .* install .* newer"),
        ({"version": 1, "keep_num_dims": 1}, "unknown option 'keep_num_dims'"),
        ({"version": 1, "acc_bits": 1}, r"'acc_bits' must be in \[2, 32\], came 1"),
        ({"version": 1, "acc_bits": 33}, "came 33"),
        ({"version": 1, "in_min": -129}, "'in_min' must be in"),
        ({"version": 1, "out_max": 128}, "'out_max' must be in"),
        ({"version": 1, "in_min": 5, "in_max": 4}, r"= \[5, 4\] is empty"),
        ({"version": 1, "out_min": 5, "out_max": 4}, r"\[out_min, out_max\]"),
        ({"version": 1, "partition": 4}, "'partition' must be in"),
        ({"version": 1, "partition": 2}, "'partition_size' must be positive"),
        ({"version": 1, "partition": 1, "partition_size": 8}, "and 0 else, came 8"),
        ({"version": 1, "stride_h": 0}, "'stride_h' must be in"),
        ({"version": 1, "dilation_w": 2**31}, "'dilation_w' must be in"),
        ({"version": 1, "padding": 2}, "'padding' must be in"),
        ({"version": 1, "activation": 4}, "'activation' must be in"),
    ],
)
def test_refuses(values, text):
    with pytest.raises(InvalidFileError, match=text):
        options.decode(options.CONV_2D, bytes(flexbuffers.Dumps(values)))


def test_refuses_a_long_blob_before_copying_it():
    with pytest.raises(InvalidFileError, match="at most 8192 bytes, came 8193"):
        options.decode(options.CONV_2D, memoryview(bytes(8193)))


def test_encode_checks_too():
    with pytest.raises(InvalidFileError, match="unknown option 'form'"):
        options.encode(options.CONV_2D, {"form": 1})


@pytest.mark.parametrize(
    "partition", [None, Partition(), Partition("runs", 64), Partition("lanes", 8)]
)
def test_partitions(partition):
    assert options.option_partition(options.partition_options(partition)) == partition
