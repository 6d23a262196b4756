"""Prints, extracts and compares recipes: what becomes of each layer of a quantized model.

A recipe is the JSON that accq.search and accq.recipe_of write and accq.quantize(recipe=...)
follows. FILE may also be a .keras model that accq.quantize made. With OTHER the differences are
printed, and the exit status is 1 if there are any.

Examples:
  accq recipe recipe.json
  accq recipe qmodel.keras --output recipe.json
  accq recipe old.json new.json
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from keras_accq.cli.common import (
    CHECK_FAILED,
    OK,
    UsageError,
    add_json,
    is_keras,
    print_json,
    quantized_model,
)

if TYPE_CHECKING:
    from keras_accq.recipe import Recipe

HELP = "show, extract or compare recipes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, count, what in (
        ("file", None, "a recipe (.json) or a quantized model (.keras)"),
        ("other", "?", "another, to compare with"),
    ):
        parser.add_argument(name, type=Path, nargs=count, metavar=name.upper(), help=what)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the recipe there")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.other is not None and arguments.output is not None:
        raise UsageError("--output goes with one recipe, not with two to compare")
    recipe = _load(arguments.file)
    if arguments.other is not None:
        lines = recipe.diff(_load(arguments.other))
        if arguments.json:
            print_json({"format": 1, "differences": lines})
        else:
            print("\n".join(lines) or "no difference")
        return CHECK_FAILED if lines else OK
    if arguments.output is not None:
        recipe.save(arguments.output)
    print(recipe.to_json() if arguments.json else _table(recipe))
    return OK


def _load(path: Path) -> "Recipe":
    if is_keras(path):
        model = quantized_model(path)
        from keras_accq.reuse import recipe_of

        return recipe_of(model)
    from keras_accq.recipe import Recipe

    return Recipe.load(path)


def _table(recipe: "Recipe") -> str:
    rows = [("layer", "N", "M", "P", "tile", "method")]
    for layer in recipe.layers:
        rows.append(
            (
                layer.name,
                str(layer.input_bits),
                str(layer.weight_bits),
                "-" if layer.acc_bits is None else str(layer.acc_bits),
                "all" if layer.tile is None else str(layer.tile),
                "excluded" if layer.method is None else layer.method,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    origin = recipe.provenance
    lines.append(
        f"model {recipe.model!r}, scheme {recipe.scheme!r}, {len(recipe.tensors)} scale groups; "
        f"made by {origin.source} of keras-accq {origin.package_version}"
    )
    if origin.metrics:
        lines.append(f"metrics: {json.dumps(origin.metrics)}")
    return "\n".join(line.rstrip() for line in lines)
