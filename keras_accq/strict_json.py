"""Reading JSON into dataclasses, strictly: nothing unknown, nothing missing, no wrong types."""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from keras_accq.errors import InvalidFileError


def parse(text: str | bytes, what: str) -> Any:
    """The value of a JSON text.

    Raises:
        InvalidFileError: Not JSON, or with NaN or infinite numbers; `what` names the file.
    """

    def refuse(constant: str) -> float:
        raise InvalidFileError(f"{what}: expected finite numbers, received {constant}")

    try:
        return json.loads(text, parse_constant=refuse)
    except InvalidFileError:
        raise
    except UnicodeDecodeError:
        raise InvalidFileError(f"{what}: not JSON: it is not even text") from None
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{what}: not JSON: {error}") from None


def decode(expected: Any, value: Any, where: str) -> Any:
    """A JSON value as the type that it is declared to have.

    Args:
        expected: A dataclass whose fields are annotated with these types, `tuple[T, ...]`,
            `T | None`, `dict[str, Any]`, str, int, float or bool.
        value: What `parse` gave.
        where: The value's place in the file, for messages.

    Raises:
        InvalidFileError: A key unknown or missing, or a value of another type, saying where. What
            a dataclass itself raises (TypeError, ValueError) comes as this too.
    """
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        (inner,) = (t for t in arguments if t is not type(None))
        return None if value is None else decode(inner, value, where)
    if is_dataclass(expected):
        return _decode_record(expected, value, where)
    if origin is tuple:
        _require(isinstance(value, list), "a list", value, where)
        return tuple(
            decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value)
        )
    if expected is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _require(number and math.isfinite(value), "a finite number", value, where)
        return float(value)
    if expected is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        _require(whole, "an integer", value, where)
        return value
    plain = dict if origin is dict else expected
    named = {str: "a string", bool: "true or false", dict: "an object"}[plain]
    _require(isinstance(value, plain), named, value, where)
    return value


def _decode_record(record: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, Mapping), "an object", value, where)
    hints = get_type_hints(record)
    known = {field.name: field for field in fields(record)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise InvalidFileError(
            f"{where}: unknown {_listed(unknown)}; expected only {_listed(known)}. A newer "
            "keras-accq may have written it"
        )
    missing = [
        name
        for name, field in known.items()
        if name not in value and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise InvalidFileError(f"{where}: expected {_listed(missing)}, which is missing")
    arguments = {key: decode(hints[key], item, f"{where}.{key}") for key, item in value.items()}
    try:
        return record(**arguments)
    except (TypeError, ValueError) as error:
        raise InvalidFileError(f"{where}: {error}") from None


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names)


def _require(good: bool, expected: str, value: Any, where: str) -> None:
    if not good:
        raise InvalidFileError(f"{where}: expected {expected}, received {_shortened(value)}")


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
