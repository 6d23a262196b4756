from dataclasses import dataclass
from typing import Any

import pytest

from keras_accq.errors import InvalidFileError
from keras_accq.strict_json import decode, parse


@dataclass(frozen=True)
class _Inner:
    x: float


@dataclass(frozen=True)
class _Outer:
    name: str
    flag: bool
    inner: tuple[_Inner, ...]
    maybe: int | None = None
    free: dict[str, Any] | None = None


GOOD = {"name": "a", "flag": True, "inner": [{"x": 1}, {"x": 2.5}]}


def test_decodes_nested_records() -> None:
    decoded = decode(_Outer, {**GOOD, "maybe": 3, "free": {"k": [None]}}, "file")
    assert decoded == _Outer("a", True, (_Inner(1.0), _Inner(2.5)), 3, {"k": [None]})
    assert type(decoded.inner[0].x) is float
    assert decode(_Outer, GOOD, "file").maybe is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": 1}, r"file\.name: expected a string, received 1"),
        ({"flag": 1}, r"file\.flag: expected true or false, received 1"),
        ({"inner": [{"x": 1}, {"x": None}]}, r"file\.inner\[1\]\.x: expected a finite number"),
        ({"inner": [{}]}, r"file\.inner\[0\]: expected 'x', which is missing"),
        ({"inner": [{"x": 1, "y": 2}]}, r"file\.inner\[0\]: unknown 'y'; expected only 'x'"),
        ({"maybe": False}, r"file\.maybe: expected an integer, received false"),
        ({"free": 3}, r"file\.free: expected an object"),
        ({"name": list(range(99))}, r"file\.name: .*received .{57}\.\.\.$"),
    ],
)
def test_refuses_what_is_not_declared(changes, text: str) -> None:
    with pytest.raises(InvalidFileError, match=text):
        decode(_Outer, {**GOOD, **changes}, "file")


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", "{", b"\xff"])
def test_parse_refuses_what_is_not_json(text) -> None:
    with pytest.raises(InvalidFileError, match="file: "):
        parse(text, "file")
