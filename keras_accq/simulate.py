"""What narrow accumulators would do to a file's layers, on real inputs.

Each layer's stored input is recorded in stock LiteRT, which sums in 32 bits, and the layer is
computed once more from it through accumulators of a given width. Layers are taken one by one: an
error does not travel to the next. Needs neither the delegate nor a compiler.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from keras_accq.accumulate import Arithmetic, accumulate, check_arithmetic
from keras_accq.bounds import ALL, IntArray, Partition, check_acc_bits
from keras_accq.certificate import ExcludedOp, short_name
from keras_accq.products import by_channel, grouped_inputs, grouped_weights, summed_bias
from keras_accq.record import Array, Inputs, record
from keras_accq.reference import Int8Array, activation_limits, requantize
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import rewrite

# A layer as it is in the file, and as the built-in that LiteRT runs.
_Pair = tuple[QuantizedOp, QuantizedOp]


@dataclass(frozen=True)
class OpSimulation:
    """One layer's outputs under the simulated arithmetic, beside those that LiteRT recorded.

    Attributes:
        index: Index of the operator in the main subgraph of the file that was given.
        name: Its output tensor's name.
        kind: "conv2d", "depthwise_conv2d", "fully_connected" or "transpose_conv".
        acc_bits: P of the accumulators that were simulated.
        partition: The cells of K that had an accumulator each.
        overflows: int64 [channels], the outputs in which a running sum left the P bits.
        output: int8 [samples, ..., channels], as simulated.
        recorded: The same as recorded, before a narrower output range is applied.
    """

    index: int
    name: str
    kind: str
    acc_bits: int
    partition: Partition
    overflows: IntArray
    output: Int8Array
    recorded: Int8Array

    @property
    def differences(self) -> int:
        """How many outputs differ from the recorded ones."""
        return int((self.output != self.recorded).sum())


@dataclass(frozen=True)
class SimulationResult:
    """All layers of a file under one arithmetic.

    Attributes:
        arithmetic: "exact", "wrap" or "saturate".
        ops: The layers that were simulated.
        excluded: The dot-product operators that were not, with the reason.
        outputs: The model's outputs as LiteRT computed them, samples on the first axis.
    """

    arithmetic: Arithmetic
    ops: tuple[OpSimulation, ...]
    excluded: tuple[ExcludedOp, ...]
    outputs: tuple[Array, ...]

    @property
    def overflows(self) -> int:
        """How many sums left the accumulator, over all layers and channels."""
        return sum(int(op.overflows.sum()) for op in self.ops)

    @property
    def differences(self) -> int:
        """How many outputs differ from the recorded ones, over all layers."""
        return sum(op.differences for op in self.ops)

    def __str__(self) -> str:
        rows = [("op", "name", "accumulator", "outputs", "overflows", "channels", "differences")]
        for op in self.ops:
            rows.append(
                (
                    str(op.index),
                    short_name(op.name),
                    f"P = {op.acc_bits} {op.partition}",
                    str(op.output.size),
                    str(op.overflows.sum()),
                    f"{(op.overflows > 0).sum()} of {len(op.overflows)}",
                    str(op.differences),
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        lines += [
            f"{op.index}  {short_name(op.name)}  not simulated: {op.op}: {op.reason}"
            for op in self.excluded
        ]
        lines.append(
            f"{self.arithmetic}: {self.overflows} outputs overflowed, {self.differences} differ"
        )
        return "\n".join(line.rstrip() for line in lines)


def simulate(
    source: bytes | bytearray | memoryview | str | os.PathLike[str],
    inputs: Inputs,
    *,
    arithmetic: Arithmetic = "exact",
    acc_bits: int | None = None,
    partition: Partition | None = None,
    progress: Callable[[list[_Pair]], Iterable[_Pair]] = iter,
) -> SimulationResult:
    """Recomputes every int8 dot product of a file through accumulators of P bits.

    The products are added one by one in file order of K (kh, kw, cin); the bias is added after
    widening; the sums are requantized as the operators do (keras_accq.reference). All inputs,
    outputs and patches of the samples are held in memory: a few dozen images are enough to see
    overflows.

    Args:
        source: The file's bytes, or its path.
        inputs: Samples on the first axis, a multiple of the model's batch: one array, or for
            several inputs a list in the model's order, or a mapping by name. Types are the
            model's own.
        arithmetic: What an addition does that leaves the accumulator: "exact", nothing; "wrap",
            modulo 2^P; "saturate", it stops at the end of the range.
        acc_bits: P for all layers; by default each layer's own, which is 16 where the file says
            nothing.
        partition: Which products share an accumulator, for all layers; by default each layer's
            own, or one accumulator for all of K where it claims nothing. (The kernels run such
            layers with spill schedules and never overflow: this shows what would happen without.)
        progress: Given the list of layers to simulate; what it yields is simulated. A progress
            bar, such as tqdm.tqdm.

    Returns:
        Outputs, overflow counts and LiteRT's own outputs.

    Raises:
        InvalidFileError: Not a sound `.tflite` file.
        OSError: The path can not be read.
        TypeError: `acc_bits` is not an integer, or a bool.
        ValueError: An unknown arithmetic, `acc_bits` outside 2..32, or inputs that do not match.
        RuntimeError: LiteRT can not run the file.
    """
    check_arithmetic(arithmetic)
    if acc_bits is not None:
        check_acc_bits(acc_bits)
    given = load(source)
    lowered = rewrite(given.data, ops="builtin").model
    pairs, excluded = [], []
    # Lowering keeps the dot products and their order; it adds operators around them.
    for op, builtin in zip(quantized_ops(given), quantized_ops(load(lowered)), strict=True):
        reason = builtin.reason
        if op.subgraph != 0:
            reason = "only the main subgraph is simulated"
        if reason is None:
            pairs.append((op, builtin))
        else:
            excluded.append(ExcludedOp(op.subgraph, op.index, op.name, op.op, reason))
    recording = record(lowered, inputs, {t for _, b in pairs for t in (b.input, b.output)})
    return SimulationResult(
        arithmetic=arithmetic,
        ops=tuple(
            _simulate(
                op,
                builtin,
                recording.tensors[builtin.input],
                recording.tensors[builtin.output],
                arithmetic,
                op.acc_bits if acc_bits is None else acc_bits,
                partition or op.partition or ALL,
            )
            for op, builtin in progress(pairs)
        ),
        excluded=tuple(excluded),
        outputs=recording.outputs,
    )


def _simulate(
    op: QuantizedOp,
    builtin: QuantizedOp,
    x: Int8Array,
    recorded: Int8Array,
    arithmetic: Arithmetic,
    acc_bits: int,
    partition: Partition,
) -> OpSimulation:
    q = builtin.weights()
    bias = summed_bias(builtin)
    limits = activation_limits(builtin.activation, builtin.s_y, builtin.z_y)
    weights = grouped_weights(builtin)
    outputs, overflows = [], np.zeros(builtin.channels, np.int64)
    samples = x if builtin.kind != "fully_connected" else x.reshape(1, -1, q.shape[1])
    for sample in samples:
        sums, overflowed = accumulate(
            grouped_inputs(builtin, sample), weights, acc_bits, partition, arithmetic
        )
        overflows += by_channel(overflowed).sum(axis=0)
        outputs.append(
            requantize(by_channel(sums) + bias, builtin.multiplier, builtin.z_y, *limits)
        )
    return OpSimulation(
        index=op.index,
        name=op.name,
        kind=op.kind,
        acc_bits=acc_bits,
        partition=partition,
        overflows=overflows,
        output=np.concatenate(outputs).reshape(recorded.shape),
        recorded=recorded,
    )
