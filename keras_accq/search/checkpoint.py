"""The scores that a search has found so far, in a file.

Only scores are kept: a search that goes on finds the same decisions from them.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from keras_accq.errors import InvalidFileError
from keras_accq.files import write_atomically
from keras_accq.search.work import Score
from keras_accq.strict_json import decode, parse

VERSION = 1
_FORMAT = "keras-accq search"


class Checkpoint:
    """Scores by step, written to a file as they come.

    Args:
        path: The file; None to keep nothing. If it exists, its scores are taken over.
        fingerprint: What the scores depend on, by name: JSON values.

    Raises:
        InvalidFileError: The file is something else.
        ValueError: It belongs to another search, naming what differs.
        OSError: It can not be read.
    """

    def __init__(self, path: str | os.PathLike[str] | None, fingerprint: Mapping[str, Any]) -> None:
        self._path = path
        self._fingerprint = dict(fingerprint)
        self._scores: dict[str, Score] = {}
        if path is not None and os.path.exists(path):
            self._read(os.fspath(path))

    def __len__(self) -> int:
        return len(self._scores)

    def get(self, step: str) -> Score | None:
        """The score of a step, if it is known."""
        return self._scores.get(step)

    def put(self, step: str, score: Score) -> None:
        """Keeps a step's score.

        Raises:
            OSError: The file can not be written.
        """
        self._scores[step] = score
        if self._path is None:
            return
        record = {
            "format": _FORMAT,
            "version": VERSION,
            "search": self._fingerprint,
            "scores": {step: asdict(score) for step, score in self._scores.items()},
        }
        write_atomically(self._path, f"{json.dumps(record, indent=1)}\n".encode())

    def _read(self, path: str) -> None:
        what = f"checkpoint {path}"
        with open(path, "rb") as file:
            record = parse(file.read(), what)
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise InvalidFileError(f"{what}: not written by accq.search; give another path")
        if record.get("version") != VERSION:
            raise InvalidFileError(
                f"{what}: of version {record.get('version')!r}, while this keras-accq reads "
                f"{VERSION}; remove it to start anew"
            )
        theirs = decode(dict[str, Any], record.get("search"), f"{what}: search")
        differs = [
            f"{name} ({_short(theirs.get(name))} there, {_short(self._fingerprint.get(name))} here)"
            for name in {**self._fingerprint, **theirs}
            if theirs.get(name) != self._fingerprint.get(name)
        ]
        if differs:
            raise ValueError(
                f"{what}: of another search, which differs in {', '.join(differs)}; give another "
                "path, or remove the file to start anew"
            )
        scores = decode(dict[str, Any], record.get("scores"), f"{what}: scores")
        self._scores = {
            step: decode(Score, score, f"{what}: scores.{step}") for step, score in scores.items()
        }


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
