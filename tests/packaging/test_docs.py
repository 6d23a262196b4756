"""README and docs: their commands are the ones CI runs, their code runs, their links lead on."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tflite_models
from native_build import REPOSITORY

README = REPOSITORY / "README.md"
DOCUMENTS = [README, *sorted((REPOSITORY / "docs").rglob("*.md"))]
# Folders of one machine: what they hold is nowhere else.
_MACHINE_PATHS = re.compile(r"/(?:work|root|home/\w+)/")


def _blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S)


@pytest.mark.skipif(not (REPOSITORY / ".ci").exists(), reason="no checkout")
def test_ci_runs_the_commands_of_the_readme():
    commands = [block.strip() for block in _blocks(README, "sh")[:2]]
    assert len(commands) == 2
    script = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line in commands] == commands


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "last", "result"),
    [(0, 1, "digits_axe.tflite"), (2, 2, "any16.tflite")],
    ids=["training", "lossless"],
)
def test_readme_code_runs(first, last, result, tmp_path, delegate_library):
    code = "".join(_blocks(README, "python")[first : last + 1])
    if result == "any16.tflite":
        model = tflite_models.residual(np.random.default_rng(0))
        (tmp_path / "any.tflite").write_bytes(model)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / result).stat().st_size > 0
    assert done.stdout.strip()


@pytest.mark.skipif(not (REPOSITORY / "docs").exists(), reason="no checkout")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_relative_links_lead_to_files(document):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


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
