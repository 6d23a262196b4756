"""docs/troubleshooting.md lists every error message of the code, and none that is gone."""

import re

import pytest
from documents import messages
from documents.messages import ANY
from native_build import REPOSITORY

PAGE = REPOSITORY / "docs" / "troubleshooting.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="no checkout")


def _entries():
    """The messages of the page's tables, but those that others write."""
    text = PAGE.read_text().partition("## Messages of others")[0]
    return re.findall(r"^\| `(.+?)` \| .+ \|$", text, re.M)


def _pattern(entry):
    parts = entry.replace("\\|", "|").split(ANY)
    return re.compile(".*".join(re.escape(part.strip(" ")) for part in parts), re.S)


def _listed(template, patterns):
    plain = template.replace("\n", " ").replace("`", "")
    return [p for p in patterns if p.fullmatch(plain) or p.fullmatch(template)]


def _templates():
    return {**messages.python(), **messages.cpp()}


def test_there_are_messages():
    assert len(messages.python()) > 300
    assert len(messages.cpp()) > 70


def test_every_message_is_on_the_page():
    patterns = [_pattern(entry) for entry in _entries()]
    missing = [f"{where}: {t}" for t, where in _templates().items() if not _listed(t, patterns)]
    assert not missing, "not in docs/troubleshooting.md:\n" + "\n".join(missing)


def test_every_entry_of_the_page_is_a_message():
    templates = _templates()
    gone = [e for e in _entries() if not any(_listed(t, [_pattern(e)]) for t in templates)]
    assert not gone, "in docs/troubleshooting.md, and in no code:\n" + "\n".join(gone)


def test_an_entry_says_more_than_a_wildcard():
    assert not [e for e in _entries() if len(re.findall(r"[a-z]", e.replace(ANY, ""))) < 2]
