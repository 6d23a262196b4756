import inspect
import re

import pytest
from ai_edge_litert import schema_py_generated as generated

from keras_accq.tflite.schema import OPERATORS, TABLES, TENSOR_TYPES, UNIONS

_LETTERS = {
    "Int8": "b",
    "Uint8": "B",
    "Bool": "?",
    "Uint16": "H",
    "Int32": "i",
    "Uint32": "I",
    "Int64": "q",
    "Uint64": "Q",
    "Float32": "f",
}


@pytest.fixture(scope="module")
def source():
    return inspect.getsource(generated)


def camel(name):
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def generated_slots(source, table):
    """Slot -> (the field's name, the type of its slot) in the generated writers."""
    found = re.findall(
        rf"^def {table}Add(\w+)\(builder, \w+\):\n\s+builder\.Prepend(\w+)Slot\((\d+)",
        source,
        re.MULTILINE,
    )
    return {int(slot): (name, kind) for name, kind, slot in found}


@pytest.mark.parametrize("table", TABLES)
def test_fields_are_those_of_the_generated_schema(source, table):
    theirs = generated_slots(source, table)
    for slot, field in enumerate(TABLES[table]):
        if field.name.startswith("deprecated_") and slot not in theirs:
            continue  # Files may hold it, the generated code has dropped it.
        name, kind = theirs.pop(slot)
        assert camel(field.name) == name
        assert kind == ("UOffsetTRelative" if field.kind != "scalar" else kind)
        if field.kind == "scalar":
            assert field.of == _LETTERS[kind]
            continue
        accessors = getattr(generated, table)
        is_vector = hasattr(accessors, f"{name}Length")
        assert (field.kind in ("vector", "tables")) == is_vector
        body = inspect.getsource(getattr(accessors, name))
        if field.kind == "vector":
            flags = re.search(r"number_types\.(\w+)Flags, a", body).group(1)
            assert field.of == _LETTERS[flags]
        elif field.kind == "string":
            assert "_tab.String(" in body
        elif field.kind == "union":
            assert "_tab.Union(" in body
            assert TABLES[table][slot - 1].name == f"{field.name}_type"
        else:
            assert f"obj = {field.of}()" in body


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (OPERATORS, "BuiltinOperator"),
        (TENSOR_TYPES, "TensorType"),
        *((UNIONS[name], name) for name in UNIONS),
    ],
)
def test_numbers_are_those_of_the_generated_schema(ours, theirs):
    numbers = vars(getattr(generated, theirs))
    for number, name in enumerate(ours):
        assert numbers[name] == number


def test_every_reference_has_a_table():
    for fields in TABLES.values():
        for field in fields:
            if field.kind in ("table", "tables"):
                assert field.of in TABLES
            elif field.kind == "union":
                assert all(table in TABLES for table in UNIONS[field.of][1:])
