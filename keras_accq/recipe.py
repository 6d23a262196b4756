"""What becomes of each layer of a model, as a file: to read, compare, keep and use again.

A Recipe holds every decision that `accq.quantize` makes and no weights. `accq.recipe_of` reads it
from a quantized model, `accq.search` finds one, and `accq.quantize(model, recipe=...)` follows it:
from the same float weights it makes the same integers. Needs neither Keras nor TensorFlow.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from keras_accq.bounds import Partition, check_acc_bits, operand_range
from keras_accq.errors import InvalidFileError
from keras_accq.files import write_atomically
from keras_accq.strict_json import decode, parse

VERSION = 1
SCHEMES = ("free", "fixed_point")


@dataclass(frozen=True)
class LayerRecipe:
    """What one compute layer becomes.

    Attributes:
        name: The layer's.
        kernel_shape: Of its Keras kernel.
        acc_bits: P, 2..32; None for a layer that is excluded from the constraint.
        weight_bits: M, 2..8.
        input_bits: N, 2..8, that of the tensor it reads.
        tile: Weights that share an accumulator; None for all.
        method: The name of the method ("a2q", "round", ...); None for an excluded layer.
        options: The method's options.
        log2_scales: Per output channel, the base-2 logarithm of the weight that the integer 1
            stands for (minus FL in fixed point); None where it follows from the weights.

    Raises:
        TypeError, ValueError: A value of the wrong type or out of range.
    """

    name: str
    kernel_shape: tuple[int, ...]
    acc_bits: int | None
    weight_bits: int
    input_bits: int
    tile: int | None = None
    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    log2_scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        operand_range(self.weight_bits)
        operand_range(self.input_bits)
        Partition.of_tile(self.tile)
        if self.acc_bits is not None:
            check_acc_bits(self.acc_bits)
        if (self.acc_bits is None) != (self.method is None):
            raise ValueError(
                f"{self.name}: expected acc_bits and method, or neither for an excluded layer; "
                f"received acc_bits={self.acc_bits} and method={self.method!r}"
            )
        if self.method is not None and self.log2_scales is None:
            raise ValueError(f"{self.name}: expected log2_scales for method {self.method!r}")

    @property
    def excluded(self) -> bool:
        """Whether the layer is left out of the accumulator constraint."""
        return self.acc_bits is None


@dataclass(frozen=True)
class TensorRecipe:
    """The grid of the tensors that share one scale.

    Attributes:
        name: Of the layer or input that makes the first of them.
        bits: N of the layers that read them, 2..8; 8 if none does.
        low: The smallest real value of an N-bit operand; None for a range to be observed in
            training.
        high: The largest.
        clip: For a range to be observed: see `layers.ActivationQuantizer`.
        learn: Whether training learns the range, starting from this one.

    Raises:
        TypeError, ValueError: A value of the wrong type or out of range.
    """

    name: str
    bits: int
    low: float | None = None
    high: float | None = None
    clip: float | None = None
    learn: bool = False

    def __post_init__(self) -> None:
        operand_range(self.bits)
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: expected both low and high, or neither")
        if self.learn and self.low is None:
            raise ValueError(f"{self.name}: expected a range to learn from, received none")
        if self.low is not None and self.high is not None:
            if not (math.isfinite(self.low) and math.isfinite(self.high)):
                raise ValueError(f"{self.name}: expected a finite range, received {self.range}")
            if self.low > self.high:
                raise ValueError(f"{self.name}: expected low <= high, received {self.range}")

    @property
    def range(self) -> tuple[float, float] | None:
        """The real values (low, high) that the N-bit operand spans, if they are known."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Provenance:
    """Where a Recipe comes from.

    Attributes:
        source: What made it, such as "accq.search".
        package_version: The version of keras-accq that did.
        settings: What it was asked for.
        data_sha256: Of the calibration data; None if there was none.
        metrics: What was measured, by name.
    """

    source: str
    package_version: str
    settings: dict[str, Any] = field(default_factory=dict)
    data_sha256: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What becomes of every layer and tensor of a model.

    Attributes:
        model: The model's name, for messages.
        scheme: "free" or "fixed_point": see `accq.quantize`.
        layers: Its compute layers, in topological order.
        tensors: Its groups of tensors that share a scale, in topological order.
        provenance: Where the recipe comes from.

    Raises:
        ValueError: An unknown scheme, or two entries of one name.
    """

    model: str
    scheme: str
    layers: tuple[LayerRecipe, ...]
    tensors: tuple[TensorRecipe, ...]
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme: expected one of {SCHEMES}, received {self.scheme!r}")
        for kind, entries in (("layers", self.layers), ("tensors", self.tensors)):
            names = [entry.name for entry in entries]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind}: expected each name once, received {twice} again")

    def to_json(self) -> str:
        """The recipe as JSON, for `from_json`: a text to keep under version control."""
        record = {"format": "keras-accq recipe", "version": VERSION, **asdict(self)}
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        # Lists of numbers on one line each.
        return re.sub(
            r"\[\n\s+([^\[\]{}\"]*?)\n\s+\]",
            lambda match: "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]",
            text,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Recipe":
        """The recipe that `to_json` wrote.

        Raises:
            InvalidFileError: Not JSON, not a recipe, of a newer version, or with anything unknown,
                missing or of a wrong type; the text says where.
        """
        record = parse(text, "recipe")
        if not isinstance(record, Mapping) or record.get("format") != "keras-accq recipe":
            raise InvalidFileError(
                'recipe: expected a JSON object with "format": "keras-accq recipe"; '
                "Recipe.to_json and Recipe.save write one"
            )
        version = record.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise InvalidFileError(
                f'recipe: expected an integer "version" of at least 1, received {version!r}'
            )
        if version > VERSION:
            raise InvalidFileError(
                f"recipe: of version {version}, while this keras-accq reads versions up to "
                f"{VERSION}; install a newer keras-accq"
            )
        content = {key: record[key] for key in record if key not in ("format", "version")}
        recipe: Recipe = decode(cls, content, "recipe")
        return recipe

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json` to a file, whole or not at all.

        Raises:
            OSError: The file can not be written.
        """
        write_atomically(path, f"{self.to_json()}\n".encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Recipe":
        """The recipe in a file.

        Raises:
            OSError: The file can not be read.
            InvalidFileError: As `from_json`, naming the file.
        """
        with open(path, "rb") as file:
            data = file.read()
        try:
            return cls.from_json(data)
        except InvalidFileError as error:
            raise InvalidFileError(f"{os.fspath(path)}: {error}") from None

    def diff(self, other: "Recipe") -> list[str]:
        """What `other` decides differently, a line for each difference; provenance is left out."""
        lines = [
            f"{name}: {getattr(self, name)} -> {getattr(other, name)}"
            for name in ("model", "scheme")
            if getattr(self, name) != getattr(other, name)
        ]
        lines += _differences(self.layers, other.layers, "")
        return lines + _differences(self.tensors, other.tensors, "tensor ")


def _differences(ours: tuple[Any, ...], theirs: tuple[Any, ...], prefix: str) -> list[str]:
    second = {entry.name: entry for entry in theirs}
    first = {entry.name for entry in ours}
    lines = []
    for entry in ours:
        if entry.name not in second:
            lines.append(f"{prefix}{entry.name}: only in the first")
            continue
        changes = [
            _change(item.name, getattr(entry, item.name), getattr(second[entry.name], item.name))
            for item in fields(entry)
            if getattr(entry, item.name) != getattr(second[entry.name], item.name)
        ]
        if changes:
            lines.append(f"{prefix}{entry.name}: {', '.join(changes)}")
    return lines + [
        f"{prefix}{entry.name}: only in the second" for entry in theirs if entry.name not in first
    ]


def _change(name: str, ours: Any, theirs: Any) -> str:
    if name == "log2_scales" and ours and theirs and len(ours) == len(theirs):
        count = sum(a != b for a, b in zip(ours, theirs, strict=True))
        return f"scales of {count} of {len(ours)} channels"
    if isinstance(ours, float) and isinstance(theirs, float):
        return f"{name} {ours:.6g} -> {theirs:.6g}"
    return f"{name} {ours} -> {theirs}"
