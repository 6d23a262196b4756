"""Reading any part of a `.tflite` file without trusting it, and writing it back.

`parse` walks the flatbuffer once along the schema and gives plain `Table` dictionaries whose
vectors are NumPy views of the file's bytes; `serialize` writes them again. Fields keep exactly
what the file holds, present or absent, so a file that is parsed and serialized means the same.
"""

import struct
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types

from keras_accq.errors import InvalidFileError
from keras_accq.tflite.schema import TABLES, UNIONS, Field

IDENTIFIER = b"TFL3"

# What one byte of a file may cost: tables share vtables and writers may share strings, so a
# sound file can spend a little more than its size. Aliased vectors nested in each other would
# spend its square or cube.
_COST_LIMIT = 4

_SCALARS = {letter: struct.Struct(f"<{letter}") for letter in "bB?iIqQf"}
_DTYPES = {letter: np.dtype("?" if letter == "?" else f"<{letter}") for letter in "bB?HiIqf"}
_FLAGS = {
    "b": number_types.Int8Flags,
    "B": number_types.Uint8Flags,
    "?": number_types.BoolFlags,
    "i": number_types.Int32Flags,
    "I": number_types.Uint32Flags,
    "q": number_types.Int64Flags,
    "Q": number_types.Uint64Flags,
    "f": number_types.Float32Flags,
}


class Table(dict[str, Any]):
    """One flatbuffer table: the fields that are present, by schema name.

    Values are Python scalars, `bytes` for strings, NumPy arrays for vectors of scalars, `Table`
    for tables and unions, and lists of `Table`. A union's value stands beside its type number.

    Args:
        of: The table's name in the schema.
        **fields: Its fields.
    """

    __slots__ = ("of",)

    def __init__(self, of: str, **fields: Any) -> None:
        super().__init__(**fields)
        self.of = of


class _Parser:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.credit = _COST_LIMIT * self.size
        self.unknown: set[str] = set()

    def spend(self, cost: int, where: str) -> None:
        self.credit -= cost
        if self.credit < 0:
            raise InvalidFileError(
                f"{where}: the parts of this file add up to more than {_COST_LIMIT} times its "
                f"{self.size} bytes, so it refers to the same bytes again and again; it is "
                "damaged or made to exhaust memory"
            )

    def u32(self, at: int, where: str) -> int:
        if at < 0 or at + 4 > self.size:
            raise InvalidFileError(
                f"{where}: expected 4 bytes at offset {at}, but the file has {self.size} bytes; "
                "it is truncated or damaged"
            )
        return int.from_bytes(self.data[at : at + 4], "little")

    def table(self, at: int, of: str, where: str) -> Table:
        back = self.u32(at, where)
        vtable = at - (back - (1 << 32) if back >= 1 << 31 else back)
        if vtable < 0 or vtable + 4 > self.size:
            raise InvalidFileError(
                f"{where}: its table at offset {at} has its vtable at {vtable}, outside the "
                f"file's {self.size} bytes; the file is damaged"
            )
        vtable_size, table_size = struct.unpack_from("<HH", self.data, vtable)
        if (
            vtable_size < 4
            or vtable_size % 2
            or vtable + vtable_size > self.size
            or table_size < 4
            or at + table_size > self.size
        ):
            raise InvalidFileError(
                f"{where}: its table at offset {at} claims {table_size} bytes and a vtable of "
                f"{vtable_size} at {vtable}, in a file of {self.size}; the file is damaged"
            )
        self.spend(vtable_size + table_size, where)
        slots = struct.unpack_from(f"<{vtable_size // 2 - 2}H", self.data, vtable + 4)
        fields = TABLES[of]
        result = Table(of)
        for field, offset in zip(fields, slots, strict=False):
            if offset:
                width = _SCALARS[field.of].size if field.kind == "scalar" else 4
                if offset < 4 or offset + width > table_size:
                    raise InvalidFileError(
                        f"{where}.{field.name}: lies at {offset} of a table of {table_size} "
                        "bytes; the file is damaged"
                    )
                value = self.value(at + offset, field, result, f"{where}.{field.name}")
                if value is not None:
                    result[field.name] = value
        if any(slots[len(fields) :]):
            self.unknown.add(f"{of} has {len(slots)} fields, {len(fields)} are known")
        return result

    def value(self, at: int, field: Field, table: Table, where: str) -> Any:
        if field.kind == "scalar":
            return _SCALARS[field.of].unpack_from(self.data, at)[0]
        target = at + self.u32(at, where)
        if field.kind == "table":
            return self.table(target, field.of, where)
        if field.kind == "union":
            types = UNIONS[field.of]
            number = table.get(f"{field.name}_type", 0)
            if number >= len(types):
                self.unknown.add(f"{field.of} has type {number}, {len(types) - 1} are known")
                return None
            return self.table(target, types[number], where) if number else None
        count = self.u32(target, where)
        start = target + 4
        itemsize = {"string": 1, "tables": 4}.get(field.kind) or _DTYPES[field.of].itemsize
        if count * itemsize > self.size - start:
            raise InvalidFileError(
                f"{where}: claims {count} elements of {itemsize} bytes at offset {start}, but the "
                f"file ends at {self.size}; it is truncated or damaged"
            )
        self.spend(4 + count * itemsize, where)
        if field.kind == "string":
            return self.data[start : start + count]
        if field.kind == "vector":
            return np.frombuffer(self.data, _DTYPES[field.of], count, start)
        places = np.frombuffer(self.data, "<u4", count, start).tolist()
        return [
            self.table(start + 4 * i + place, field.of, f"{where}[{i}]")
            for i, place in enumerate(places)
        ]


def parse(data: bytes) -> tuple[Table, list[str]]:
    """Checks and unpacks a `.tflite` file, in time and memory linear in its size.

    Args:
        data: The whole file.

    Returns:
        The "Model" table, and what the file holds that the schema here does not know (newer
        fields or options): such a file can be read but not written back whole.

    Raises:
        InvalidFileError: Not a `.tflite` file, or truncated, or damaged anywhere.
    """
    if len(data) < 8:
        raise InvalidFileError(
            f"expected a .tflite file, came {len(data)} bytes; the file is empty or truncated"
        )
    if data[4:8] != IDENTIFIER:
        raise InvalidFileError(
            f"expected a .tflite file, which has {IDENTIFIER!r} at bytes 4 to 7, came "
            f"{data[4:8]!r}; is this a .tflite file?"
        )
    parser = _Parser(data)
    model = parser.table(parser.u32(0, "model"), "Model", "model")
    return model, sorted(parser.unknown)


def serialize(model: Table, size_hint: int = 1024) -> bytes:
    """Packs a "Model" table into the bytes of a `.tflite` file.

    Args:
        model: As `parse` gives it; new fields and tables may be mixed in.
        size_hint: About how many bytes will come out; only speed depends on it.

    Raises:
        InvalidFileError: The result would pass flatbuffers' limit of 2 GiB.
    """
    builder = flatbuffers.Builder(size_hint)
    try:
        builder.Finish(_write(builder, model), IDENTIFIER)
    except flatbuffers.builder.BuilderSizeError as error:
        raise InvalidFileError(
            "expected a model of less than 2 GiB, the limit of a flatbuffer; split the model"
        ) from error
    return bytes(builder.Output())


def _write(builder: Any, table: Table) -> int:
    fields = TABLES[table.of]
    # Flatbuffers are written back to front: what a table points to comes before it.
    offsets = {
        field.name: _write_target(builder, field, table[field.name])
        for field in fields
        if field.kind != "scalar" and field.name in table
    }
    builder.StartObject(len(fields))
    for slot, field in enumerate(fields):
        if field.name in offsets:
            builder.PrependUOffsetTRelative(offsets[field.name])
            builder.Slot(slot)
        elif field.name in table:
            builder.Prepend(_FLAGS[field.of], table[field.name])
            builder.Slot(slot)
    return int(builder.EndObject())


def _write_target(builder: Any, field: Field, value: Any) -> int:
    if field.kind in ("table", "union"):
        return _write(builder, value)
    if field.kind == "string":
        return int(builder.CreateString(value))
    if field.kind == "vector":
        array = np.ascontiguousarray(value, _DTYPES[field.of])
        builder.Prep(field.align, array.nbytes)  # Aligns the data, not the length before it.
        return int(builder.CreateNumpyVector(array))
    offsets = [_write(builder, element) for element in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
