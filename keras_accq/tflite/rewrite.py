"""Built-in int8 operators to keras-accq's custom operators, and back."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from keras_accq.certificate import short_name
from keras_accq.errors import ConversionError, InvalidFileError
from keras_accq.files import write_atomically
from keras_accq.tflite.claims import METADATA_NAME, Claim, encode_claims
from keras_accq.tflite.edit import GraphEditor, Sweeper, set_metadata
from keras_accq.tflite.flat import serialize
from keras_accq.tflite.fuse import Constraint, Fuser
from keras_accq.tflite.kept import METADATA_NAME as KEPT_NAME
from keras_accq.tflite.kept import encode_certificate
from keras_accq.tflite.lower import Lowerer, needs_more_operators
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import Model, load
from keras_accq.verify import verify

__all__ = ["Constraint", "KeptOp", "RewriteReport", "TakenOp", "rewrite"]

# Numbers operators, so none can be added or taken out beside it.
_CONTROL_DEPENDENCIES = "model_control_dependencies"
_NO_CLAIM = Claim(16, None)


@dataclass(frozen=True)
class TakenOp:
    """An operator that was replaced.

    Attributes:
        subgraph, index: Its place in the file that was given.
        name: Its output tensor's name in the file that came out.
        before, after: The operators that stood and that stand there.
    """

    subgraph: int
    index: int
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class KeptOp:
    """A dot-product operator that was left as it was.

    Attributes:
        subgraph, index: Its place in the file that was given.
        name: Its output tensor's name.
        op: The operator.
        reason: Why it was left.
    """

    subgraph: int
    index: int
    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class RewriteReport:
    """What `rewrite` did; its text is a table.

    Attributes:
        model: The bytes of the new file.
        taken: The operators that were replaced.
        kept: The dot-product operators that were not, each with the reason.
    """

    model: bytes = field(repr=False)
    taken: tuple[TakenOp, ...]
    kept: tuple[KeptOp, ...]

    def __str__(self) -> str:
        total = len(self.taken) + len(self.kept)
        rows = [(op.subgraph, op.index, f"{op.before} -> {op.after}", op.name) for op in self.taken]
        rows += [(op.subgraph, op.index, f"{op.op} kept: {op.reason}", op.name) for op in self.kept]
        lines = [f"{len(self.taken)} of {total} dot-product operators replaced"]
        if self.kept and not self.taken and all("only INT8" in op.reason for op in self.kept):
            lines[0] += (
                ": none computes in int8. TensorFlow's converter writes such files with "
                "optimizations = [tf.lite.Optimize.DEFAULT] and a representative_dataset"
            )
        lines += [f"  {g}:{i:<4} {short_name(name)}: {text}" for g, i, text, name in sorted(rows)]
        return "\n".join(lines)


def rewrite(
    source: bytes | bytearray | memoryview | str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    ops: Literal["custom", "builtin"] = "custom",
    constraints: Mapping[str, Constraint] | None = None,
) -> RewriteReport:
    """Replaces the dot-product operators of a `.tflite` file; needs no training and no data.

    With `ops="custom"` every int8 CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED becomes
    AccqConv2D, AccqDepthwiseConv2D or AccqFullyConnected, which compute the same output bytes for
    every input. Clamps by int8 MAXIMUM and MINIMUM with constants become the operator's input or
    output range, and RESHAPE, 1x1 CONV_2D, RESHAPE becomes one AccqFullyConnected. What can not be
    taken stays and is reported. With `ops="builtin"` the custom operators become those built-ins
    again, which any TFLite runtime runs; what they claimed stays as metadata (`accq.verify` checks
    it against the weights), with the certificate for people to read. All else in the file stays as
    it is.

    Args:
        source: The bytes or the path of a `.tflite` file.
        path: Where to write the new file, whole or not at all; None writes nothing.
        ops: What is wanted: "custom" or "builtin".
        constraints: By output tensor name, what an operator is made for. Each one named must be
            taken. With `ops="builtin"` they come into the file as clamps and metadata.

    Returns:
        The new file's bytes, and what was taken and kept.

    Raises:
        ConversionError: An operator with a constraint can not be taken.
        InvalidFileError: Not a sound `.tflite` file, or one of a newer schema that this package
            could not write back whole.
        OSError: The source can not be read or the path not be written.
        ValueError: Another `ops`, or a constraint for an unknown or ambiguous tensor name.
    """
    if ops not in ("custom", "builtin"):
        raise ValueError(f"ops: expected 'custom' or 'builtin', received {ops!r}")
    model = load(source)
    if ops == "custom" or constraints:
        report = _to_custom(model, constraints or {})
        if ops == "builtin":
            report = _to_builtin(load(report.model))
    else:
        report = _to_builtin(model)
    if path is not None:
        write_atomically(path, report.model)
    return report


def _kept(record: QuantizedOp, reason: str) -> KeptOp:
    return KeptOp(record.subgraph, record.index, record.name, record.op, reason)


def _check_writable(model: Model) -> None:
    if model.unknown:
        raise InvalidFileError(
            "the file holds parts of a newer TFLite schema that would be lost in writing it back: "
            f"{'; '.join(model.unknown)}; install a newer keras-accq, or convert the model with an "
            "older TensorFlow"
        )


def _is_numbered(model: Model) -> bool:
    return _CONTROL_DEPENDENCIES in model.metadata


def _check_constraints(records: list[QuantizedOp], constraints: Mapping[str, Constraint]) -> None:
    for name in constraints:
        named = [record for record in records if record.name == name]
        if len(named) != 1:
            raise ValueError(
                f"constraints: expected one dot-product operator with the output {name!r}, the "
                f"file has {len(named)}"
            )
        (record,) = named
        if record.custom or record.reason is not None:
            reason = record.reason or "it is a custom operator already"
            raise ConversionError(f"{record} has a constraint, but can not be taken: {reason}")


def _to_custom(model: Model, constraints: Mapping[str, Constraint]) -> RewriteReport:
    records = quantized_ops(model)
    _check_constraints(records, constraints)
    taken = [r for r in records if r.reason is None and not r.custom]
    kept = [
        _kept(r, r.reason or "it is a custom operator already")
        for r in records
        if r.reason is not None or r.custom
    ]
    if not taken:
        return RewriteReport(model.data, (), tuple(kept))
    _check_writable(model)
    sweeper = Sweeper(model.tree)
    was: dict[tuple[int, int], str] = {}
    for graph in model.subgraphs:
        editor = GraphEditor(model.tree, graph)
        fuser = Fuser(editor, fixed=_is_numbered(model))
        for record in (r for r in taken if r.subgraph == graph.index):
            was[record.subgraph, record.index] = fuser.fuse(record, constraints.get(record.name))
        fuser.finish()
        editor.finish()
    claims = {
        (r.subgraph, r.name): Claim(r.acc_bits, r.partition)
        for r in records
        if r.reason is not None and not r.custom and (r.acc_bits, r.partition) != _NO_CLAIM
    }
    set_metadata(model.tree, METADATA_NAME, encode_claims(claims))
    set_metadata(model.tree, KEPT_NAME, None)  # Custom operators hold their claims themselves.
    sweeper.sweep()
    data = serialize(model.tree, len(model.data))
    after = _check_result(data, len(taken))
    return RewriteReport(
        data,
        tuple(
            TakenOp(
                r.subgraph, r.index, r.name, was[r.subgraph, r.index], after[r.subgraph, r.name]
            )
            for r in taken
        ),
        tuple(kept),
    )


def _check_result(data: bytes, expected: int) -> dict[tuple[int, str], str]:
    """Reads the new file back: every operator that was made must be one that can be taken."""
    made = [record for record in quantized_ops(load(data)) if record.custom]
    for record in made:
        if record.reason is not None:
            raise ConversionError(f"{record} came out unusable: {record.reason}")
    if len(made) < expected:
        raise ConversionError(f"expected {expected} custom operators, came {len(made)}")
    return {(record.subgraph, record.name): record.op for record in made}


def _to_builtin(model: Model) -> RewriteReport:
    records = quantized_ops(model)
    claims: dict[tuple[int, str], Claim] = {}
    chosen: list[QuantizedOp] = []
    kept = []
    for record in records:
        reason = record.reason
        if not record.custom:
            reason = "it is a built-in already"
            if (record.acc_bits, record.partition) != _NO_CLAIM:
                claims[record.subgraph, record.name] = Claim(record.acc_bits, record.partition)
        elif reason is None and _is_numbered(model) and needs_more_operators(record):
            reason = (
                "it needs several built-ins, but the file's control dependencies number its "
                "operators"
            )
        if reason is None:
            chosen.append(record)
        else:
            kept.append(_kept(record, reason))
    if not chosen:
        return RewriteReport(model.data, (), tuple(kept))
    _check_writable(model)
    sweeper = Sweeper(model.tree)
    taken = []
    for graph in model.subgraphs:
        editor = GraphEditor(model.tree, graph)
        lowerer = Lowerer(editor, chosen)
        for record in (r for r in chosen if r.subgraph == graph.index):
            after, name = lowerer.lower(record)
            taken.append(TakenOp(record.subgraph, record.index, record.name, record.op, after))
            claim = Claim(record.acc_bits, record.partition)
            if claim != _NO_CLAIM:
                claims[record.subgraph, name] = claim
        editor.finish()
    needed = claims or any(r.custom for r in records if r not in chosen)
    set_metadata(model.tree, METADATA_NAME, encode_claims(claims) if needed else None)
    set_metadata(model.tree, KEPT_NAME, None)
    sweeper.sweep()
    data = serialize(model.tree, len(model.data))
    if claims:
        set_metadata(model.tree, KEPT_NAME, encode_certificate(verify(data)))
        data = serialize(model.tree, len(data))
    return RewriteReport(data, tuple(taken), tuple(kept))
