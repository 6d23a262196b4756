"""What is wanted of each compute layer: global arguments, exclusions and overrides, resolved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from keras_accq.bounds import Partition, check_acc_bits, operand_range
from keras_accq.quantizers import methods


@dataclass(frozen=True)
class LayerSettings:
    """What one compute layer is asked to be.

    Attributes:
        acc_bits: P, 2..32.
        weight_bits: M, 2..8; None to fill.
        input_bits: N, 2..8; None to fill.
        tile: Weights that share an accumulator; None for all.
        method: A method object.
        exclude: 8-bit weights and inputs, and no constraint.

    Raises:
        TypeError, ValueError: A value of the wrong type or out of range.
    """

    acc_bits: int = 16
    weight_bits: int | None = None
    input_bits: int | None = None
    tile: int | None = None
    method: Any = "a2q"
    exclude: bool = False

    def __post_init__(self) -> None:
        check_acc_bits(self.acc_bits)
        for name in ("weight_bits", "input_bits"):
            if getattr(self, name) is not None:
                try:
                    operand_range(getattr(self, name))
                except (TypeError, ValueError) as error:
                    raise type(error)(f"{name}: {error}") from None
        Partition.of_tile(self.tile)
        if not isinstance(self.exclude, bool):
            raise TypeError(f"exclude: expected a bool, received {self.exclude!r}")
        object.__setattr__(self, "method", methods.get(self.method))


_KEYS = tuple(LayerSettings.__dataclass_fields__)


def resolve(
    names: Sequence[str],
    defaults: LayerSettings,
    exclude: str | Iterable[str],
    overrides: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, LayerSettings]:
    """Settings of each compute layer.

    Args:
        names: Of all compute layers, in topological order.
        defaults: For layers that nothing else names.
        exclude: "first_last", or names or fnmatch patterns of layers.
        overrides: Changed settings by name or fnmatch pattern. Later ones win.

    Raises:
        TypeError, ValueError: An unmatched pattern, an unknown key, a bad value, or nothing left
            to constrain.
    """
    settings = dict.fromkeys(names, defaults)
    for name in _excluded(names, exclude):
        settings[name] = replace(settings[name], exclude=True)
    if overrides is not None and not isinstance(overrides, Mapping):
        raise TypeError(f"overrides: expected a dict by layer name, received {overrides!r}")
    for pattern, changes in (overrides or {}).items():
        if not isinstance(changes, Mapping):
            raise TypeError(f"overrides[{pattern!r}]: expected a dict, received {changes!r}")
        unknown = [key for key in changes if key not in _KEYS]
        if unknown:
            raise ValueError(
                f"overrides[{pattern!r}]: unknown keys {unknown}; expected some of {list(_KEYS)}"
            )
        for name in _matches(names, pattern, "overrides"):
            try:
                settings[name] = replace(settings[name], **changes)
            except (TypeError, ValueError) as error:
                raise type(error)(f"overrides[{pattern!r}]: {error}") from None
    if all(layer.exclude for layer in settings.values()):
        raise ValueError("exclude: every layer is excluded, which leaves nothing to constrain")
    return settings


def _excluded(names: Sequence[str], exclude: str | Iterable[str]) -> list[str]:
    if exclude == "first_last":
        return [names[0], names[-1]]
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    return [name for pattern in patterns for name in _matches(names, pattern, "exclude")]


def _matches(names: Sequence[str], pattern: Any, argument: str) -> list[str]:
    if not isinstance(pattern, str):
        raise TypeError(f"{argument}: expected layer names or patterns, received {pattern!r}")
    matched = [name for name in names if fnmatchcase(name, pattern)]
    if not matched:
        raise ValueError(
            f"{argument}: {pattern!r} matches no layer; expected names or patterns of {list(names)}"
        )
    return matched
