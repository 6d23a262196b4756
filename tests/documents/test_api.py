"""Every public name has a docstring that names its parameters, and a place in docs/api.md."""

import importlib
import inspect
import re

import pytest
from native_build import REPOSITORY

import keras_accq as accq

PAGE = REPOSITORY / "docs" / "api.md"
NAMES = [name for name in accq.__all__ if name != "__version__"]
checkout = pytest.mark.skipif(not PAGE.exists(), reason="no checkout")


def _objects():
    """Path and object of every entry of the page."""
    for path in re.findall(r"^::: (\S+)$", PAGE.read_text(), re.M):
        module, name = path.rsplit(".", 1)
        yield path, getattr(importlib.import_module(module), name)


@checkout
def test_every_public_name_is_on_the_page():
    shown = {path for path, _ in _objects()}
    missing = [n for n in NAMES if f"keras_accq.{accq._EXPORTS[n]}.{n}" not in shown]
    assert not missing, f"not in docs/api.md: {missing}"


@checkout
def test_headings_are_the_names_to_use():
    text = PAGE.read_text()
    for path, heading in re.findall(r"^::: (\S+)\n    options:\n      heading: (\S+)$", text, re.M):
        assert heading.rsplit(".", 1)[-1] == path.rsplit(".", 1)[1]
        assert (heading.split(".")[0] == "accq") == (heading.split(".")[-1] in NAMES), heading


@checkout
def test_everything_on_the_page_has_a_docstring():
    for path, value in _objects():
        _check(path, value)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name):
    _check(name, getattr(accq, name))


def _check(name, value):
    own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own, f"{name} has no docstring"
    if inspect.isclass(value):
        for member, what in vars(value).items():
            function = getattr(what, "__func__", None) or getattr(what, "fget", None) or what
            if not member.startswith("_") and inspect.isfunction(function):
                inherited = any(getattr(base, member, None) for base in value.__mro__[1:])
                assert function.__doc__ or inherited, f"{name}.{member} has no docstring"
    if inspect.isfunction(value):
        unnamed = [p for p in inspect.signature(value).parameters if p not in own]
        assert not unnamed, f"{name}: its docstring does not name {unnamed}"
