"""Certificates from the bytes of a `.tflite` file."""

import hashlib
import os
from functools import reduce
from operator import add

import numpy as np

from keras_accq import bounds, layouts
from keras_accq.certificate import Certificate, ExcludedOp, OpCertificate, Spills
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import load

_UNKNOWN_CUSTOM = "a custom operator that keras-accq does not know; it may sum products"


def verify(source: bytes | bytearray | memoryview | str | os.PathLike[str]) -> Certificate:
    """What a `.tflite` file's own weights prove about the accumulators of its dot products.

    Nothing is run and nothing that the file says of itself is believed: the worst cases are
    computed from the int8 weights and from the input ranges that the operators clamp to. A claim
    that the weights do not keep makes `certificate.ok` false, and
    `certificate.raise_if_broken()` raises.

    Args:
        source: The file's bytes, or its path.

    Returns:
        The certificate; `str()` of it is a table, its `verdict` one sentence.

    Raises:
        InvalidFileError: Not a sound `.tflite` file, or options or metadata of an unknown version.
        OSError: The path can not be read.
        TypeError: `source` is neither bytes nor a path.
    """
    model = load(source)
    records = quantized_ops(model)
    known = {(record.subgraph, record.index) for record in records}
    excluded = [
        ExcludedOp(record.subgraph, record.index, record.name, record.op, record.reason)
        for record in records
        if record.reason is not None
    ]
    excluded += [
        ExcludedOp(
            op.subgraph,
            op.index,
            ", ".join(model.subgraphs[op.subgraph].tensors[t].name for t in op.outputs if t >= 0),
            op.name,
            _UNKNOWN_CUSTOM,
        )
        for op in model.operators()
        if op.custom and (op.subgraph, op.index) not in known
    ]
    return Certificate(
        sha256=hashlib.sha256(model.data).hexdigest(),
        ops=tuple(_certify(record) for record in records if record.reason is None),
        excluded=tuple(sorted(excluded, key=lambda op: (op.subgraph, op.index))),
    )


def _certify(op: QuantizedOp) -> OpCertificate:
    q = op.weights()
    channels, k = q.shape
    span = op.in_min, op.in_max
    monolithic = bounds.worst_case(q, *span)
    worst = (
        monolithic
        if op.partition in (None, bounds.ALL)
        else bounds.worst_case(q, *span, op.partition)
    )
    return OpCertificate(
        subgraph=op.subgraph,
        index=op.index,
        name=op.name,
        kind=op.kind,
        custom=op.custom,
        k=k,
        channels=channels,
        acc_bits=op.acc_bits,
        partition=op.partition,
        in_min=op.in_min,
        in_max=op.in_max,
        limit=bounds.accumulator_limit(op.acc_bits),
        worst_case=tuple(worst.tolist()),
        least_acc_bits=bounds.bits_for(int(monolithic.max())),
        largest_safe_tile=int(bounds.largest_safe_tile(q, *span, op.acc_bits).min()),
        spills=_spills(op),
        phase_worst_case=_phase_worst_case(op),
    )


def _phase_worst_case(op: QuantizedOp) -> tuple[int, ...] | None:
    """Per channel, the worst case over the phases of a transposed convolution.

    An output pixel of a transposed convolution with strides (s_h, s_w) meets the taps of one of
    s_h·s_w phases only, since input and tap lie where (output + cut - tap) is a multiple of the
    stride (`keras_accq.transposed`). Its sum has no other products: it is a partial sum of the
    whole kernel's, which is why the whole kernel's bound is enough, and the exact test over one
    phase's weights is all that it needs. By the any-order lemma the test also covers pixels at the
    border that miss some of the taps. So the largest worst case over the phases is what an engine
    needs that skips the zeros between the inputs.
    """
    if op.kind != "transpose_conv":
        return None
    q = op.weights()
    worst = np.zeros(op.channels, np.int64)
    for phase in op.phases():
        # The others are left out where they stand, so that the cells stay those of the file.
        only = np.zeros_like(q)
        only[:, phase.places] = q[:, phase.places]
        case = bounds.worst_case(only, op.in_min, op.in_max, op.partition or bounds.ALL)
        worst = np.maximum(worst, case)
    return tuple(worst.tolist())


def _spills(op: QuantizedOp) -> dict[str, Spills]:
    """Each layout's figures, summed over phases: every one is a convolution of its own."""
    q = op.weights()
    figures = [
        layouts.spills(
            q[:, phase.places],
            _layout_names(op),
            groups=op.groups,
            run=phase.row if op.kind == "transpose_conv" else _run(op, q.shape[1]),
            in_min=op.in_min,
            in_max=op.in_max,
        )
        for phase in op.phases()
    ]
    return {name: reduce(add, (phase[name] for phase in figures)) for name in figures[0]}


def _layout_names(op: QuantizedOp) -> tuple[str, ...]:
    """The layouts that take an op of this kind."""
    if op.kind == "depthwise_conv2d":
        return ("avx2_dw", "neon_dw") if op.depth_multiplier == 1 else ()
    bytes_too = layouts.fits_bytes(op.weights(), op.in_min, op.in_max)
    return ("avx2_k4n16", "neon_dot8", *(("neon_dot16",) if bytes_too else ()), "portable_dot8")


def _run(op: QuantizedOp, k: int) -> int:
    """How many consecutive k have their inputs side by side in memory."""
    if op.kind != "conv2d":
        return k
    taps_of_a_row = op.filter_w if op.dilation_w == 1 and op.groups == 1 else 1
    return k // (op.filter_h * op.filter_w) * taps_of_a_row
