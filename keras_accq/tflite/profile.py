"""What each dot product of a file costs, and how many bits of its operands are really used."""

import math
from dataclasses import dataclass

import numpy as np

from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import Model


@dataclass(frozen=True)
class LayerProfile:
    """One dot-product operator; where `reason` is not None, the figures are 0.

    Attributes:
        subgraph, index: Its place in the file.
        name: Its output tensor's name.
        op: The operator.
        custom: Whether it is one of ours.
        reason: Why it can not be taken; None if it can.
        kind: See `keras_accq.tflite.ops.QuantizedOp`.
        k: Products per output.
        channels: Output channels.
        macs: Multiply-accumulates of one inference with the file's shapes.
        input_bits: The least N of a two's complement integer that holds every stored input.
        weight_bits: The same for the weights.
        zeros: Fraction of the weights that are 0.
    """

    subgraph: int
    index: int
    name: str
    op: str
    custom: bool
    reason: str | None
    kind: str
    k: int = 0
    channels: int = 0
    macs: int = 0
    input_bits: int = 0
    weight_bits: int = 0
    zeros: float = 0.0


def profile(model: Model) -> list[LayerProfile]:
    """One record per dot-product operator, in the file's order.

    Raises:
        InvalidFileError: As `quantized_ops`.
    """
    return [_profile(model, op) for op in quantized_ops(model)]


def _profile(model: Model, op: QuantizedOp) -> LayerProfile:
    place = op.subgraph, op.index, op.name, op.op, op.custom, op.reason, op.kind
    if op.reason is not None:
        return LayerProfile(*place)
    q = op.weights()
    return LayerProfile(
        *place,
        k=q.shape[1],
        channels=q.shape[0],
        macs=macs(model, op),
        input_bits=_bits(op.in_min, op.in_max),
        weight_bits=_bits(int(q.min()), int(q.max())),
        zeros=float(np.mean(q == 0)),
    )


def macs(model: Model, op: QuantizedOp) -> int:
    """Products that the outputs need; a transposed convolution's inputs each meet all its taps."""
    tensors = model.subgraphs[op.subgraph].tensors
    k = op.weights().shape[1]
    if op.kind == "transpose_conv":
        return math.prod(tensors[op.input].shape[:-1]) * k * op.channels
    return math.prod(tensors[op.output].shape) * k


def _bits(low: int, high: int) -> int:
    """Of the narrowest two's complement integer that holds both ends, at least 1."""
    return max((~low if low < 0 else low).bit_length(), high.bit_length()) + 1
