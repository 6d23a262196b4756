"""Reading a flexbuffer map of integers without trusting it.

`flatbuffers.flexbuffers` follows offsets and lengths unchecked; this reads the one shape that
our options have and checks each of them. Format: the last byte is the root's width, the one
before its packed type, before that the offset back to the map's values; before the values stand
the offset back to the keys, the keys' width, and the count; after them one packed type each.
"""

from keras_accq.errors import InvalidFileError

# More than any options map has; together they bound the work on a hostile one.
_MAX_ENTRIES = 64
_MAX_KEY_BYTES = 64

_INT, _UINT, _MAP = 1, 2, 9


def _bad(what: str) -> InvalidFileError:
    return InvalidFileError(f"custom options: expected a flexbuffer map of integers, {what}")


class _Bytes:
    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def number(self, at: int, width: int, *, signed: bool = False) -> int:
        if width not in (1, 2, 4, 8):
            raise _bad(f"came a width of {width} bytes at {at}; the file is damaged")
        if at < 0 or at + width > len(self.blob):
            raise _bad(
                f"came a reference to {width} bytes at {at} in a blob of {len(self.blob)}; "
                "the file is damaged"
            )
        return int.from_bytes(self.blob[at : at + width], "little", signed=signed)

    def key(self, at: int) -> str:
        if not 0 <= at < len(self.blob):
            raise _bad(f"came a key at {at} in a blob of {len(self.blob)}; the file is damaged")
        end = self.blob.find(b"\0", at, at + _MAX_KEY_BYTES)
        if end < 0:
            raise _bad(f"came a key of {_MAX_KEY_BYTES} bytes or more at {at}")
        try:
            return self.blob[at:end].decode("ascii")
        except UnicodeDecodeError as error:
            raise _bad(f"came a key that is not ASCII: {self.blob[at:end]!r}") from error


def read_int_map(blob: bytes) -> dict[str, int]:
    """The keys and values of a flexbuffer whose root is a map of integers.

    Args:
        blob: The whole flexbuffer.

    Raises:
        InvalidFileError: The blob is damaged, or holds anything but integers.
    """
    size = len(blob)
    if size < 3:
        raise _bad(f"came {size} bytes")
    data = _Bytes(blob)
    root_type, root_width = blob[-2], blob[-1]
    if root_type >> 2 != _MAP:
        raise _bad(f"came flexbuffer type {root_type >> 2}, a map is {_MAP}")
    root = size - 2 - root_width
    values = root - data.number(root, root_width)
    width = 1 << (root_type & 3)
    count = data.number(values - width, width)
    if count > _MAX_ENTRIES:
        raise _bad(f"came {count} entries, at most {_MAX_ENTRIES} make sense")
    keys_slot = values - 3 * width
    keys = keys_slot - data.number(keys_slot, width)
    key_width = data.number(values - 2 * width, width)
    if data.number(keys - key_width, key_width) != count:
        raise _bad("came another number of keys than of values; the file is damaged")
    result: dict[str, int] = {}
    for i in range(count):
        slot = keys + i * key_width
        key = data.key(slot - data.number(slot, key_width))
        if key in result:
            raise _bad(f"came the key {key!r} twice")
        kind = data.number(values + count * width + i, 1) >> 2
        if kind not in (_INT, _UINT):
            raise _bad(f"came flexbuffer type {kind} for {key!r}, an integer is {_INT} or {_UINT}")
        result[key] = data.number(values + i * width, width, signed=kind == _INT)
    return result
