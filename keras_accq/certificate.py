"""Certificates: what a `.tflite` file's own weights prove about its accumulators.

Plain records, written as versioned JSON; `keras_accq.verify` makes them. A certificate informs
people: kernels derive their own schedules from the weights and trust no file's claims.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keras_accq.bounds import Partition, bits_for
from keras_accq.errors import BudgetError, InvalidFileError

FORMAT = 1

# Names are spelled out in a verdict up to this many, then counted.
_NAMED = 8
_NAME_WIDTH = 48


@dataclass(frozen=True)
class Spills:
    """How often one kernel layout widens its int16 sums for one op (see keras_accq.layouts).

    Attributes:
        steps: int16 multiply-accumulate steps of the inner loop, over all channel blocks.
        spills: Widenings of int16 sums to int32 among them, the last of each block included.
        extra_steps: Steps added because weights had to be split in two; counted in `steps`.
        int32_steps: Steps that multiply in 32 bits, where int16 sums would not pay.
    """

    steps: int
    spills: int
    extra_steps: int
    int32_steps: int = 0

    def __add__(self, other: "Spills") -> "Spills":
        """The figures of two parts of an op together."""
        return Spills(
            self.steps + other.steps,
            self.spills + other.spills,
            self.extra_steps + other.extra_steps,
            self.int32_steps + other.int32_steps,
        )

    @property
    def interval(self) -> float:
        """Mean steps between two spills."""
        return self.steps / self.spills if self.spills else 0.0


@dataclass(frozen=True)
class OpCertificate:
    """What the weights of one int8 dot-product op prove.

    Attributes:
        subgraph: Index of its subgraph.
        index: Index of the operator in it.
        name: Its output tensor's name.
        kind: "conv2d", "depthwise_conv2d", "fully_connected" or "transpose_conv".
        custom: Whether it is one of this package's ops; a built-in runs in 32 bits and claims
            nothing.
        k: Products summed per output.
        channels: Output channels.
        acc_bits: P, the accumulator that it claims, or that its spill schedules use.
        partition: The cells that each have an accumulator of their own; None where the op makes
            no claim (lossless or built-in).
        in_min: Smallest stored input, after the op's clamp.
        in_max: Largest stored input, after the op's clamp.
        limit: 2^(P-1) - 1.
        worst_case: Per channel, the largest magnitude that a partial sum can reach within a cell
            (monolithic where `partition` is None).
        least_acc_bits: The narrowest monolithic accumulator that all channels fit.
        largest_safe_tile: The largest T whose runs of T fit `acc_bits` in every channel; 0 where
            one product alone does not.
        spills: By layout name.
        phase_worst_case: For a transposed convolution, per channel, the same as `worst_case` with
            only the taps that one output meets (see `keras_accq.transposed`), the worst of the
            stride_h·stride_w phases: never more, and enough for an engine that skips the zeros
            between the inputs. None for the other kinds.
    """

    subgraph: int
    index: int
    name: str
    kind: str
    custom: bool
    k: int
    channels: int
    acc_bits: int
    partition: Partition | None
    in_min: int
    in_max: int
    limit: int
    worst_case: tuple[int, ...]
    least_acc_bits: int
    largest_safe_tile: int
    spills: Mapping[str, Spills]
    phase_worst_case: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.channels < 1 or len(self.worst_case) != self.channels:
            raise ValueError(
                f"op {self.name}: expected one worst case for each of {self.channels} channels, "
                f"received {len(self.worst_case)}"
            )
        if self.phase_worst_case is not None and len(self.phase_worst_case) != self.channels:
            raise ValueError(
                f"op {self.name}: expected one worst case of a phase for each of {self.channels} "
                f"channels, received {len(self.phase_worst_case)}"
            )

    @property
    def worst_channel(self) -> int:
        """The channel with the largest worst case."""
        return max(range(len(self.worst_case)), key=self.worst_case.__getitem__)

    @property
    def phase_least_acc_bits(self) -> int | None:
        """The narrowest accumulator that all phases fit; None but for transposed convolutions."""
        return None if self.phase_worst_case is None else bits_for(max(self.phase_worst_case))

    @property
    def fits(self) -> bool:
        """Whether every channel's worst case is within the limit."""
        return max(self.worst_case) <= self.limit

    @property
    def broken(self) -> bool:
        """Whether the op claims an accumulator that its weights overflow."""
        return self.partition is not None and not self.fits

    @property
    def claim(self) -> str:
        """The claim in words: "P = 16 monolithic", "P = 16 lossless" or "none (built-in)"."""
        if not self.custom and self.partition is None:
            return "none (built-in)"
        return f"P = {self.acc_bits} {self.partition or 'lossless'}"


@dataclass(frozen=True)
class ExcludedOp:
    """A dot-product op that the certificate says nothing about.

    Attributes:
        subgraph: Index of its subgraph.
        index: Index of the operator in it.
        name: Its output tensor's name.
        op: The TFLite operator, e.g. "CONV_2D".
        reason: Why, in words.
    """

    subgraph: int
    index: int
    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class Certificate:
    """What a file's bytes prove about every dot product in it.

    Attributes:
        sha256: Of the whole file, in hex.
        ops: The int8 dot-product ops whose weights were measured.
        excluded: All other dot-product ops.
    """

    sha256: str
    ops: tuple[OpCertificate, ...]
    excluded: tuple[ExcludedOp, ...]

    @property
    def ok(self) -> bool:
        """False when an op claims an accumulator that its weights overflow."""
        return not any(op.broken for op in self.ops)

    @property
    def verdict(self) -> str:
        """One sentence for the file: what is proven, and which ops are not covered and why."""
        total = len(self.ops) + len(self.excluded)
        if total == 0:
            return "no dot-product ops"
        parts = [*_claims(self.ops, total), *_lossless(self.ops, total)]
        builtin = [op for op in self.ops if op.partition is None and not op.custom]
        if builtin:
            parts.append(
                f"no claim: {_count(len(builtin), 'built-in int8 op')} "
                f"(least P = {_least(builtin)}): {_names(short_name(op.name) for op in builtin)}"
            )
        if self.excluded:
            parts.append(
                f"not covered: {_count(len(self.excluded), 'op')}: "
                + ", ".join(_by_reason(self.excluded))
            )
        return "; ".join(parts)

    def raise_if_broken(self) -> None:
        """Raises when a claim does not hold.

        Raises:
            BudgetError: Names each such layer, its worst channel, that channel's worst case and
                the limit.
        """
        broken = [op for op in self.ops if op.broken]
        if broken:
            raise BudgetError(
                "accumulator claims that the weights do not keep:\n"
                + "\n".join(f"  {_where(op)}: {op.claim}, but {_excess(op)}" for op in broken)
            )

    def to_json(self) -> str:
        """The certificate as a JSON object, `"format": 1`."""
        record = asdict(self)
        for op, plain in zip(self.ops, record["ops"], strict=True):
            plain["worst_channel"] = op.worst_channel
            plain["fits"] = op.fits
            plain["phase_least_acc_bits"] = op.phase_least_acc_bits
        return json.dumps(
            {"format": FORMAT, **record, "ok": self.ok, "verdict": self.verdict}, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> "Certificate":
        """The certificate that `to_json` wrote.

        Raises:
            InvalidFileError: Not JSON, not a certificate, or of an unknown format.
        """
        try:
            record = json.loads(text)
        except ValueError as error:
            raise InvalidFileError(f"certificate: not JSON: {error}") from None
        if not isinstance(record, dict) or "format" not in record:
            raise InvalidFileError('certificate: expected a JSON object with a "format"')
        if record["format"] != FORMAT:
            raise InvalidFileError(
                f"certificate: expected format {FORMAT}, received {record['format']!r}; "
                "a newer keras-accq may read it"
            )
        try:
            return cls(
                sha256=record["sha256"],
                ops=tuple(_op_from(plain) for plain in record["ops"]),
                excluded=tuple(ExcludedOp(**plain) for plain in record["excluded"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidFileError(f"certificate: malformed: {error}") from error

    def __str__(self) -> str:
        rows = [("op", "name", "K", "claim", "inputs", "worst case", "limit", "least P", "tile")]
        for op in self.ops:
            rows.append(
                (
                    _position(op.subgraph, op.index),
                    short_name(op.name),
                    str(op.k),
                    op.claim,
                    f"[{op.in_min}, {op.in_max}]",
                    _worst_text(op),
                    str(op.limit),
                    _with_phases(op.least_acc_bits, op.phase_least_acc_bits),
                    str(op.largest_safe_tile),
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        lines += [
            f"{_position(op.subgraph, op.index)}  {short_name(op.name)}  "
            f"not covered: {op.op}: {op.reason}"
            for op in self.excluded
        ]
        return "\n".join([*(line.rstrip() for line in lines), self.verdict])


# What a record holds besides the fields.
_DERIVED = ("worst_channel", "fits", "phase_least_acc_bits")


def _op_from(plain: Mapping[str, Any]) -> OpCertificate:
    fields = {k: v for k, v in plain.items() if k not in _DERIVED}
    partition = fields["partition"]
    fields["partition"] = None if partition is None else Partition(**partition)
    fields["worst_case"] = tuple(fields["worst_case"])
    if fields.get("phase_worst_case") is not None:
        fields["phase_worst_case"] = tuple(fields["phase_worst_case"])
    fields["spills"] = {name: Spills(**figures) for name, figures in fields["spills"].items()}
    return OpCertificate(**fields)


def _with_phases(whole: int, phase: int | None) -> str:
    return str(whole) if phase is None else f"{whole} (phases {phase})"


def _worst_text(op: OpCertificate) -> str:
    phase = None if op.phase_worst_case is None else max(op.phase_worst_case)
    return f"{_with_phases(max(op.worst_case), phase)}{' OVERFLOWS' if op.broken else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _of_total(number: int, total: int) -> str:
    return f"all {_count(total, 'op')}" if number == total else f"{number} of {total} ops"


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def short_name(name: str) -> str:
    """A tensor's name for tables: the converter joins those of all layers that it fused by ";"."""
    first, *rest = name.split(";")
    cut = first if len(first) <= _NAME_WIDTH else first[: _NAME_WIDTH - 1] + "…"
    return f"{cut};…" if rest and cut == first else cut


def _by_reason(ops: Iterable[ExcludedOp]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for op in ops:
        groups.setdefault((op.op, op.reason), []).append(short_name(op.name))
    for (kind, reason), names in groups.items():
        yield f"{_names(names)} ({kind}: {reason})"


def _position(subgraph: int, index: int) -> str:
    return str(index) if subgraph == 0 else f"{subgraph}:{index}"


def _where(op: OpCertificate) -> str:
    return f"{short_name(op.name)} (op {_position(op.subgraph, op.index)})"


def _excess(op: OpCertificate) -> str:
    return f"channel {op.worst_channel} needs {max(op.worst_case)}, limit {op.limit}"


def _least(ops: Iterable[OpCertificate]) -> int:
    return max(op.least_acc_bits for op in ops)


def _claims(ops: Iterable[OpCertificate], total: int) -> list[str]:
    groups: dict[tuple[int, Partition], list[OpCertificate]] = {}
    for op in ops:
        if op.partition is not None:
            groups.setdefault((op.acc_bits, op.partition), []).append(op)
    parts = []
    for (acc_bits, partition), members in groups.items():
        comma = "" if partition.kind == "all" else ","
        broken = [op for op in members if op.broken]
        text = f"P = {acc_bits}{comma} {partition}: {_of_total(len(members) - len(broken), total)}"
        if broken:
            text += f"; not {_names(f'{short_name(op.name)} ({_excess(op)})' for op in broken)}"
        parts.append(text)
    return parts


def _lossless(ops: Iterable[OpCertificate], total: int) -> list[str]:
    groups: dict[int, list[OpCertificate]] = {}
    for op in ops:
        if op.partition is None and op.custom:
            groups.setdefault(op.acc_bits, []).append(op)
    return [
        f"lossless: {acc_bits}-bit with spill schedules, {_of_total(len(members), total)} exact; "
        f"no monolithic claim (least P = {_least(members)})"
        for acc_bits, members in groups.items()
    ]
