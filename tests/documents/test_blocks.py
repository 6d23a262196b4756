"""Every code block of README, CONTRIBUTING and docs/ is run, or says on the page why it is not."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from documents import given
from documents.blocks import LANGUAGES, NOT_RUN, PLAIN, RUN, blocks, commands, documents
from native_build import REPOSITORY

CHECKOUT = pytest.mark.skipif(not (REPOSITORY / "docs").exists(), reason="no checkout")


def _ids(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


def _with(*languages):
    return [d for d in documents() if any(b.reason is None for b in blocks(d, *languages))]


@CHECKOUT
@pytest.mark.parametrize("document", documents(), ids=_ids)
def test_every_block_names_its_language(document):
    assert not [f"{b} {b.language!r}" for b in blocks(document) if b.language not in LANGUAGES]
    text = re.sub(r"^( *)```.*?^ *```", "", document.read_text(), flags=re.M | re.S)
    indented = re.findall(r"\n\n( {4,}\S.*)", text)
    assert not [line for line in indented if not re.match(r" +([-*]|\d+\.) ", line)]


@CHECKOUT
@pytest.mark.parametrize("document", documents(), ids=_ids)
def test_what_is_not_run_says_so_once_and_for_a_block(document):
    marked = [block for block in blocks(document) if block.reason]
    assert not [f"{b}: nothing to run" for b in marked if b.language in PLAIN]
    text = " ".join(document.read_text().split())
    assert len(re.findall(f"(?<!`){NOT_RUN.pattern}", text)) == len(marked)


@CHECKOUT
@pytest.mark.parametrize("document", documents(), ids=_ids)
def test_only_what_can_be_run_goes_unmarked(document):
    assert not [
        f"{block}: nothing runs {block.language}; say why behind it"
        for block in blocks(document)
        if block.language not in (*RUN, *PLAIN) and block.reason is None
    ]


@pytest.mark.slow
@pytest.mark.parametrize("document", _with(*RUN), ids=_ids)
def test_blocks_run(document, tmp_path, monkeypatch, delegate_library):
    """The blocks of a document, one after the other; those of Python in one namespace."""
    monkeypatch.chdir(tmp_path)
    given.files(tmp_path)
    stand_alone = document.parent.name == "tutorials" or document == REPOSITORY / "README.md"
    names = {"__name__": "__main__"}
    names |= {} if stand_alone else given.names(document.name, tmp_path)
    with given.around(document.name) as more:
        names |= more
        for block in blocks(document, *RUN):
            if block.reason is None:
                _RUNNERS[block.language](block, names, delegate_library)


def _python(block, names, _):
    code = block.code
    for long, short in given.SHORTER.items():
        code = code.replace(long, short)
    exec(compile(code, str(block), "exec"), names)


def _sh(block, *_):
    """Lines that begin with accq; others are commands of .ci/run, as another test says."""
    from keras_accq.cli import main as cli
    from keras_accq.cli.common import CHECK_FAILED, OK

    for line in commands(block):
        words = shlex.split(line, comments=True)
        words = words[: words.index("||")] if "||" in words else words
        if words[0] == "accq":
            status = cli.main(cli.parser().parse_args(words[1:]))
            assert status in (OK, CHECK_FAILED), line


def _cpp(block, _, library):
    """A whole program, which is given the delegate's path."""
    Path("program.cc").write_text(block.code)
    compiler = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", "program", "program.cc"]
    subprocess.run([*compiler, "-ldl"], check=True)
    subprocess.run(["./program", str(library)], check=True)


_RUNNERS = {"python": _python, "sh": _sh, "cpp": _cpp}


@CHECKOUT
@pytest.mark.parametrize("document", documents(), ids=_ids)
def test_a_shell_block_is_accq_commands_or_run_by_ci_or_says_why_not(document):
    ci = (REPOSITORY / ".ci" / "run").read_text() if (REPOSITORY / ".ci").exists() else ""
    for block in blocks(document, "sh"):
        if block.reason is None and block.code.strip() not in ci:
            assert not [f"{block}: {c}" for c in commands(block) if not c.startswith("accq ")]


@CHECKOUT
@pytest.mark.parametrize("document", documents(), ids=_ids)
def test_programs_and_their_options_exist(document):
    """Also of blocks that are not run, and of command lines in the text."""
    plain = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.M | re.S)
    lines = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", plain)]
    lines += [line for block in blocks(document, "sh") for line in commands(block)]
    pattern = r"python3? ((?:benchmarks|examples|tests)/[\w/.]+\.py)([^&|#\n]*)"
    for program, rest in re.findall(pattern, "\n".join(lines)):
        path = REPOSITORY / program
        assert path.exists(), program
        source = path.read_text()
        if path.parent.name == "examples":
            source += (path.parent / "common.py").read_text()
        for option in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", rest):
            assert f'"{option}"' in source, f"{program} has no option {option}"
