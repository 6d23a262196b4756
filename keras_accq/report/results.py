"""Accuracies that were measured elsewhere, for the report's curve over accumulator widths."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_accq.errors import InvalidFileError
from keras_accq.recipe import Recipe
from keras_accq.strict_json import parse

_ACCURACY = ("test", "metric_after_fine_tuning", "metric")


@dataclass(frozen=True)
class Result:
    """One network that was measured.

    Attributes:
        method: What made it; "float" for the float network.
        acc_bits: P; None for the float network.
        accuracy: In 0..1.
    """

    method: str
    acc_bits: int | None
    accuracy: float


def read_results(paths: Iterable[str | os.PathLike[str]]) -> list[Result]:
    """The results in some files; lines without an accuracy (what had no budget) are left out.

    Args:
        paths: Recipes (.json) with a metric among their provenance, as `accq.search` writes them;
            or .jsonl files with "method", "acc_bits" and "test" in each line, as
            benchmarks/accuracy.py writes them.

    Raises:
        InvalidFileError: Another file, or an accuracy that is not in 0..1.
        OSError: A file can not be read.
    """
    results = []
    for path in map(Path, paths):
        if path.suffix == ".jsonl":
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if line.strip():
                    where = f"{path}:{number}"
                    results += _result(parse(line, where), where)
        else:
            results += _result(_of_recipe(Recipe.load(path)), os.fspath(path))
    return results


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    layers = [layer for layer in recipe.layers if layer.acc_bits is not None]
    methods = sorted({layer.method for layer in layers if layer.method})
    return {
        "method": f"{recipe.provenance.source} ({', '.join(methods)})",
        "acc_bits": max((layer.acc_bits or 0 for layer in layers), default=None),
        **recipe.provenance.metrics,
    }


def _result(record: Any, where: str) -> list[Result]:
    if not isinstance(record, dict) or not isinstance(record.get("method"), str):
        raise InvalidFileError(f'{where}: expected a JSON object with a "method"')
    bits = record.get("acc_bits")
    if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int)):
        raise InvalidFileError(f"{where}: expected an integer acc_bits or null, received {bits!r}")
    accuracy = next((record[key] for key in _ACCURACY if record.get(key) is not None), None)
    if accuracy is None:
        return []
    if not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
        raise InvalidFileError(f"{where}: expected an accuracy in 0..1, received {accuracy!r}")
    return [Result(record["method"], bits, float(accuracy))]
