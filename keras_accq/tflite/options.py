"""The options of our custom operators: a versioned flexbuffer map of integers.

A missing key has its default, so that later versions can add keys; a key or version that this
package does not know is refused, because ignoring it could change what an operator computes.
`tflite_kernels/delegate` reads the same map in C++.
"""

import operator
from collections.abc import Mapping
from typing import Literal, NamedTuple

from flatbuffers import flexbuffers

from keras_accq import __version__
from keras_accq.bounds import Partition
from keras_accq.errors import InvalidFileError
from keras_accq.tflite.flexmap import read_int_map

VERSION = 1
_MAX_BLOB = 8192

CONV_2D = "AccqConv2D"
DEPTHWISE_CONV_2D = "AccqDepthwiseConv2D"
FULLY_CONNECTED = "AccqFullyConnected"
TRANSPOSE_CONV = "AccqTransposeConv"

# Values of "partition".
LOSSLESS, MONOLITHIC, RUNS, LANES = range(4)
# Values of "padding".
SAME, VALID = range(2)
# Values of "form" of AccqFullyConnected: the built-ins that it stands for.
FORM_FULLY_CONNECTED, FORM_CONV = range(2)


class _Key(NamedTuple):
    default: int
    low: int
    high: int


_INT32_MAX = 2**31 - 1
_INT8 = (-128, 127)
_COMMON = {
    "version": _Key(VERSION, 1, VERSION),
    "acc_bits": _Key(16, 2, 32),
    "partition": _Key(LOSSLESS, LOSSLESS, LANES),
    "partition_size": _Key(0, 0, _INT32_MAX),
    "in_min": _Key(-128, *_INT8),
    "in_max": _Key(127, *_INT8),
    "out_min": _Key(-128, *_INT8),
    "out_max": _Key(127, *_INT8),
    "activation": _Key(0, 0, 3),
}
_STRIDES = {
    "padding": _Key(SAME, SAME, VALID),
    "stride_h": _Key(1, 1, _INT32_MAX),
    "stride_w": _Key(1, 1, _INT32_MAX),
}
_WINDOW = {
    **_STRIDES,
    "dilation_h": _Key(1, 1, _INT32_MAX),
    "dilation_w": _Key(1, 1, _INT32_MAX),
}
KEYS: dict[str, dict[str, _Key]] = {
    CONV_2D: {**_COMMON, **_WINDOW},
    DEPTHWISE_CONV_2D: {**_COMMON, **_WINDOW, "depth_multiplier": _Key(1, 1, _INT32_MAX)},
    FULLY_CONNECTED: {
        **_COMMON,
        "keep_num_dims": _Key(0, 0, 1),
        "form": _Key(FORM_FULLY_CONNECTED, FORM_FULLY_CONNECTED, FORM_CONV),
    },
    TRANSPOSE_CONV: {**_COMMON, **_STRIDES},
}


def partition_options(partition: Partition | None) -> dict[str, int]:
    """The two options that say `partition`; None is lossless, which claims nothing."""
    if partition is None:
        return {"partition": LOSSLESS, "partition_size": 0}
    number = {"all": MONOLITHIC, "runs": RUNS, "lanes": LANES}[partition.kind]
    return {"partition": number, "partition_size": partition.size}


def option_partition(values: Mapping[str, int]) -> Partition | None:
    """The partition that checked options say; None when they claim none."""
    number, size = values["partition"], values["partition_size"]
    if number == LOSSLESS:
        return None
    if number == MONOLITHIC:
        return Partition()
    kinds: dict[int, Literal["runs", "lanes"]] = {RUNS: "runs", LANES: "lanes"}
    return Partition(kinds[number], size)


def check(code: str, values: Mapping[str, int]) -> dict[str, int]:
    """The options of one operator, complete and in order.

    Args:
        code: The custom operator's name, a key of `KEYS`.
        values: Its options; what is missing gets its default.

    Raises:
        InvalidFileError: An unknown key or a higher version, a value out of its range, or two
            values that contradict each other.
    """
    keys = KEYS[code]
    version = values.get("version", VERSION)
    if version > VERSION:
        raise InvalidFileError(
            f"{code}: its options have version {version}, keras-accq {__version__} reads "
            f"{VERSION}; install the keras-accq that wrote the file, or a newer one"
        )
    for key in values:
        if key not in keys:
            raise InvalidFileError(
                f"{code}: unknown option {key!r}, keras-accq {__version__} reads "
                f"{', '.join(keys)}; install the keras-accq that wrote the file, or a newer one"
            )
    result = {key: operator.index(values.get(key, keys[key].default)) for key in keys}
    for key, value in result.items():
        _, low, high = keys[key]
        if not low <= value <= high:
            raise InvalidFileError(
                f"{code}: option {key!r} must be in [{low}, {high}], came {value}"
            )
    for side in ("in", "out"):
        low, high = result[f"{side}_min"], result[f"{side}_max"]
        if low > high:
            raise InvalidFileError(
                f"{code}: the range [{side}_min, {side}_max] = [{low}, {high}] is empty"
            )
    if (result["partition_size"] > 0) != (result["partition"] in (RUNS, LANES)):
        raise InvalidFileError(
            f"{code}: option 'partition_size' must be positive for runs ({RUNS}) and lanes "
            f"({LANES}) and 0 else, came {result['partition_size']} with partition "
            f"{result['partition']}"
        )
    return result


def encode(code: str, values: Mapping[str, int]) -> bytes:
    """The options blob of one operator; every key is written, defaults too.

    Args:
        code: The custom operator's name.
        values: Its options; what is missing gets its default.

    Raises:
        InvalidFileError: As `check`.
    """
    return bytes(flexbuffers.Dumps(check(code, values)))


def decode(code: str, blob: bytes | memoryview) -> dict[str, int]:
    """All options of one operator from its blob.

    Args:
        code: The custom operator's name.
        blob: The operator's custom options, which may be anything.

    Raises:
        InvalidFileError: The blob is damaged, has no version, or is refused by `check`.
    """
    if len(blob) > _MAX_BLOB:  # Many operators of a hostile file may share one long blob.
        raise InvalidFileError(
            f"{code}: expected options of at most {_MAX_BLOB} bytes, came {len(blob)}; the file "
            "is damaged"
        )
    values = read_int_map(bytes(blob))
    if "version" not in values:
        raise InvalidFileError(f"{code}: its options have no 'version'; the file is damaged")
    return check(code, values)
