"""Documents: their commands are the ones CI runs, their links lead on, they name what there is."""

import re

import pytest
from documents.blocks import blocks, documents
from native_build import REPOSITORY

README = REPOSITORY / "README.md"
# Folders of one machine: what they hold is nowhere else.
_MACHINE_PATHS = re.compile(r"/(?:work|root|home/\w+)/")


@pytest.mark.skipif(not (REPOSITORY / ".ci").exists(), reason="no checkout")
def test_ci_runs_the_commands_of_the_readme():
    commands = [block.code.strip() for block in blocks(README, "sh")[:2]]
    assert len(commands) == 2
    script = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line in commands] == commands


def _anchors(document):
    """The anchors of a document's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        yield re.sub(r"[^\w\- ]", "", plain.replace("`", "")).replace(" ", "-")


@pytest.mark.skipif(not (REPOSITORY / "docs").exists(), reason="no checkout")
@pytest.mark.parametrize("document", documents(), ids=lambda d: d.name)
def test_relative_links_lead_to_files_and_headings(document):
    wrong = []
    for link, anchor in re.findall(r"\]\(([^)#:\s]*)(#[^)]*)?\)", document.read_text()):
        target = document.parent / link if link else document
        if not target.exists():
            wrong.append(link)
        elif anchor and target.suffix == ".md" and anchor[1:] not in set(_anchors(target)):
            wrong.append(link + anchor)
    assert not wrong


def _texts():
    folders = ("keras_accq", "tests", "examples", "benchmarks", "tflite_kernels", "docs")
    for folder in folders:
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".c", ".cc", ".h", ".txt", ".json"):
                yield path
    yield from (README, REPOSITORY / "setup.py", REPOSITORY / "setup.cfg")


@pytest.mark.skipif(not (REPOSITORY / "setup.py").exists(), reason="no checkout")
def test_no_file_names_a_folder_of_one_machine():
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _MACHINE_PATHS.search(line) and "_MACHINE_PATHS" not in line
    ]
    assert not found


@pytest.mark.skipif(not (REPOSITORY / "docs").exists(), reason="no checkout")
def test_the_architecture_names_every_module_and_nothing_else():
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    package = text[text.index("## The Python package") : text.index("## The kernels")]
    named = set(re.findall(r"(\w+\.py)", package))
    modules = {f.name for f in (REPOSITORY / "keras_accq").rglob("*.py")} - {"__init__.py"}
    assert named == modules
