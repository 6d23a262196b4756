"""The code blocks of the documents, and whether each is run.

Every block is fenced and names its language. What the tests can not run carries, as the paragraph
behind it, the reason where readers see it:

    *Not run as a test: needs Android's NDK.*
"""

import re
from dataclasses import dataclass
from pathlib import Path

from native_build import REPOSITORY

NOT_RUN = re.compile(r"\*Not run as a test: ([^*]+)\.\*")
# Formulas, layouts, output and file contents: nothing that could run.
PLAIN = ("text", "json")
RUN = ("python", "sh", "cpp")
LANGUAGES = (*RUN, "kotlin", *PLAIN)


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: Path
    line: int
    language: str
    code: str
    reason: str | None  # why it is not run; None where it is

    def __str__(self) -> str:
        return f"{self.document.relative_to(REPOSITORY)}:{self.line}"


def documents() -> list[Path]:
    """README, CONTRIBUTING and everything in docs/; of an installed package's tests, README."""
    top = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*filter(Path.exists, top), *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(document: Path, *languages: str) -> list[Block]:
    """All blocks of a document, or those in some languages, in order."""
    lines = document.read_text().splitlines()
    found, start = [], None
    for number, line in enumerate(lines):
        fence = re.match(r"\s*```(.*)$", line)
        if fence is None:
            continue
        if start is None:
            start, language = number, fence[1].strip()
            continue
        indent = len(line) - len(line.lstrip())
        code = "".join(f"{text[indent:]}\n" for text in lines[start + 1 : number])
        behind = "\n".join(lines[number + 1 :]).lstrip("\n").split("\n\n")[0]
        mark = NOT_RUN.fullmatch(" ".join(behind.split()))
        found.append(Block(document, start + 1, language, code, mark and mark[1]))
        start = None
    if start is not None:
        raise ValueError(f"{document}:{start + 1}: a block that does not end")
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> list[str]:
    """The command lines of a shell block, continuations joined."""
    joined = re.sub(r"\\\n\s*", "", block.code)
    return [line.strip() for line in joined.splitlines() if line.strip()]
