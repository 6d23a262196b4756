"""The NumPy reference that runs exported integers: `IntegerModel.run`.

The arithmetic is that of docs/tflite-ops.md, so that the outputs are LiteRT's, byte for byte. Of
the operators that are no dot products it knows those that move, compare or convert values, ADD,
AVERAGE_POOL_2D and MEAN, as LiteRT's default CPU path computes them; others are left to the
reader's own back end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_accq.accumulate import accumulate, check_arithmetic
from keras_accq.bounds import Partition
from keras_accq.errors import UnsupportedModelError
from keras_accq.integers.model import IntegerLayer, IntegerModel, OtherStep
from keras_accq.products import by_channel, grouped_inputs, grouped_weights
from keras_accq.reference import Int8Array, activation_limits, patches, requantize
from keras_accq.transposed import Axis

Array = NDArray[Any]


def run(
    model: IntegerModel,
    inputs: Sequence[Any],
    accumulators: str = "exact",
    until: str | None = None,
) -> Any:
    """See `IntegerModel.run`."""
    check_arithmetic(accumulators, "accumulators")
    arrays = [np.asarray(array) for array in inputs]
    batches = _check_inputs(model, arrays)
    wanted = model.outputs if until is None else (_named(model, until),)
    plan = _plan(model, wanted)
    results: list[list[Array]] = [[] for _ in wanted]
    for batch in range(batches):
        values: dict[int, Array] = {}
        for index, array in zip(model.inputs, arrays, strict=True):
            size = len(array) // batches
            values[index] = array[batch * size : (batch + 1) * size]
        for item in plan:
            if isinstance(item, IntegerLayer):
                values[item.output] = _Layer(model, item).run(values[item.input], accumulators)
            else:
                values[item.outputs[0]] = _step(model, item, values)
        for kept, index in zip(results, wanted, strict=True):
            kept.append(values[index])
    joined = tuple(np.concatenate(kept) for kept in results)
    return joined[0] if len(joined) == 1 else joined


def _check_inputs(model: IntegerModel, arrays: list[Array]) -> int:
    """How many times the model's batch the samples are."""
    if len(arrays) != len(model.inputs):
        raise ValueError(f"expected {len(model.inputs)} inputs, received {len(arrays)}")
    counts = set()
    for index, array in zip(model.inputs, arrays, strict=True):
        tensor = model.tensor(index)
        batch, *shape = tensor.shape
        dtype = {"INT8": "int8", "FLOAT32": "float32"}.get(tensor.type)
        if list(array.shape[1:]) != shape or array.dtype != dtype or len(array) % batch:
            raise ValueError(
                f"input {tensor.name!r}: expected {dtype} [multiple of {batch}, "
                f"{', '.join(map(str, shape))}], received {array.dtype} {list(array.shape)}"
            )
        counts.add(len(array) // batch)
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"expected as many samples of every input, and some; received {counts}")
    return counts.pop()


def _named(model: IntegerModel, name: str) -> int:
    found = [tensor.index for tensor in model.tensors if tensor.name == name]
    if len(found) != 1:
        raise ValueError(
            f"until: expected the name of one tensor, {len(found)} are called {name!r}; there are "
            f"{', '.join(repr(tensor.name) for tensor in model.tensors)}"
        )
    return found[0]


def _plan(model: IntegerModel, wanted: Sequence[int]) -> list[IntegerLayer | OtherStep]:
    """What must run for the wanted tensors, in order; refuses what the reference does not know."""
    needed = set(wanted)
    plan: list[IntegerLayer | OtherStep] = []
    items: list[IntegerLayer | OtherStep] = [*model.layers, *model.steps]
    for item in sorted(items, key=lambda item: item.index, reverse=True):
        layer = isinstance(item, IntegerLayer)
        outputs = {item.output} if isinstance(item, IntegerLayer) else set(item.outputs)
        if not outputs & needed:
            continue
        if isinstance(item, OtherStep) and item.op not in _KNOWN:
            raise UnsupportedModelError(
                f"the NumPy reference has no {item.op} (step {item.index}), only "
                f"{', '.join(_KNOWN)} and the layers; run(until=...) stops at a tensor before it"
            )
        plan.insert(0, item)
        needed |= {item.input} if layer else set(item.inputs)  # type: ignore[union-attr]
    return plan


@dataclass(frozen=True)
class _Layer:
    """A layer with its arrays, as `keras_accq.products` wants it."""

    model: IntegerModel
    record: IntegerLayer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)

    def _array(self, name: str) -> Array:
        return self.model.arrays[f"{self.record.index}/{name}"]

    def weights(self) -> Int8Array:
        q = self._array("weights")
        if self.record.kind == "depthwise_conv2d":
            return q.reshape(-1, q.shape[-1]).T
        return q.reshape(q.shape[0], -1)

    @cached_property
    def z_x(self) -> int:
        return self.model.tensor(self.record.input).zero_point or 0

    @cached_property
    def axes(self) -> tuple[Axis, Axis] | None:
        if self.record.kind != "transpose_conv":
            return None
        layer = self.record
        x, y = (self.model.tensor(t).shape for t in (layer.input, layer.output))
        padding: Any = layer.padding
        return (
            Axis(x[1], layer.filter_h, layer.stride_h, y[1], padding),
            Axis(x[2], layer.filter_w, layer.stride_w, y[2], padding),
        )

    def run(self, x: Int8Array, accumulators: str) -> Int8Array:
        layer = self.record
        y = self.model.tensor(layer.output)
        x = np.clip(x, layer.in_min, layer.in_max)
        dense = layer.kind == "fully_connected"
        outputs = [
            requantize(
                self._sums(sample, accumulators) + self._array("summed_bias"),
                self._array("multipliers"),
                y.zero_point or 0,
                layer.out_min,
                layer.out_max,
            )
            for sample in (x.reshape(1, -1, layer.k) if dense else x)
        ]
        return np.concatenate(outputs).reshape(y.shape)

    def _sums(self, sample: Int8Array, accumulators: str) -> Array:
        inputs, weights = grouped_inputs(self, sample), grouped_weights(self)
        held = self.record.accumulator
        if accumulators == "exact" or held.cells is None:
            # Exact in float64, whose products run in the BLAS: sums stay far below 2^53.
            product = inputs.astype(np.float64) @ weights.astype(np.float64).swapaxes(1, 2)
            return by_channel(product.astype(np.int64))
        kind: Any = held.cells.kind
        arithmetic: Any = accumulators
        cells = Partition(kind, held.cells.size)
        return by_channel(accumulate(inputs, weights, held.acc_bits, cells, arithmetic)[0])


def _step(model: IntegerModel, step: OtherStep, values: dict[int, Array]) -> Array:
    given = [
        values[index] if index in values else model.arrays[f"tensor/{index}"]
        for index in step.inputs
    ]
    result: Array = _KNOWN[step.op](model, step, *given)
    return result


def _reshape(model: IntegerModel, step: OtherStep, x: Array, *_: Array) -> Array:
    return x.reshape(model.tensor(step.outputs[0]).shape)


def _windows(step: OtherStep, x: Array, pad_value: int) -> Array:
    """[n, out_h, out_w, window_h, window_w, channels]."""
    if step.options.get("fused_activation_function", 0):
        raise UnsupportedModelError(f"step {step.index}: {step.op} with an activation")
    return patches(
        x,
        (step.options["filter_height"], step.options["filter_width"]),
        (step.options["stride_h"], step.options["stride_w"]),
        (1, 1),
        "valid" if step.options.get("padding", 0) else "same",
        pad_value,
    )


def _max_pool(_: IntegerModel, step: OtherStep, x: Array) -> Array:
    # Padding takes no part in a maximum.
    return _windows(step, x, -128).max(axis=(3, 4))


def _average_pool(_: IntegerModel, step: OtherStep, x: Array) -> Array:
    """The mean of the inputs that are there, halves away from 0."""
    sums = _windows(step, x, 0).sum(axis=(3, 4), dtype=np.int64)
    count = _windows(step, np.ones_like(x), 0).sum(axis=(3, 4), dtype=np.int64)
    means = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    return means.astype(np.int8)


def _mean(model: IntegerModel, step: OtherStep, x: Array, axes: Array) -> Array:
    """XNNPACK's mean over height and width, requantized in float32."""
    a, y = (model.tensor(t) for t in (step.inputs[0], step.outputs[0]))
    if x.dtype != np.int8 or x.ndim != 4 or sorted(axes.reshape(-1).tolist()) != [1, 2]:
        raise UnsupportedModelError(f"step {step.index}: MEAN not over height and width of int8")
    if None in (a.scale, y.scale):
        raise UnsupportedModelError(f"step {step.index}: MEAN of a tensor without a scale")
    count = x.shape[1] * x.shape[2]
    sums = x.sum(axis=(1, 2), dtype=np.int64) - count * (a.zero_point or 0)
    multiplier = np.float32(a.scale or 0) / np.float32(y.scale or 0) / np.float32(count)
    means = requantize(sums, np.asarray(multiplier), y.zero_point or 0, -128, 127)
    return means.reshape(y.shape)


def _add(model: IntegerModel, step: OtherStep, a: Array, b: Array) -> Array:
    """XNNPACK's sum of two int8 tensors: multipliers of 21 bits, halves rounded up."""
    x, y, z = (model.tensor(t) for t in (*step.inputs, *step.outputs))
    if a.dtype != np.int8 or x.shape != y.shape or None in (x.scale, y.scale, z.scale):
        raise UnsupportedModelError(f"step {step.index}: ADD not of two int8 tensors of one shape")
    # None is ruled out above; a tensor with a scale has a zero point.
    scale = np.float32(z.scale or 0)
    ratios = np.array([x.scale, y.scale], np.float32) / scale
    if ratios.min() < 2**-10 or ratios.max() >= 2**8:
        raise UnsupportedModelError(
            f"step {step.index}: ADD with scales {x.scale:g} and {y.scale:g} to {z.scale:g}, where "
            "LiteRT leaves XNNPACK; expected ratios in [2^-10, 2^8)"
        )
    shift = 21 - int(np.frexp(ratios.max())[1])
    multipliers = np.rint(np.ldexp(ratios, shift)).astype(np.int64)
    shifted = [
        multiplier * (values.astype(np.int64) - (tensor.zero_point or 0))
        for multiplier, values, tensor in zip(multipliers, (a, b), (x, y), strict=True)
    ]
    sums = (sum(shifted) + (1 << (shift - 1))) >> shift
    zero_point = z.zero_point or 0
    activation = step.options.get("fused_activation_function", 0)
    limits = activation_limits(activation, float(scale), zero_point)
    return np.clip(sums + zero_point, *limits).astype(np.int8)


def _maximum(_: IntegerModel, __: OtherStep, a: Array, b: Array) -> Array:
    return np.maximum(a, b)


def _minimum(_: IntegerModel, __: OtherStep, a: Array, b: Array) -> Array:
    return np.minimum(a, b)


def _quantize(model: IntegerModel, step: OtherStep, x: Array) -> Array:
    y = model.tensor(step.outputs[0])
    if x.dtype != np.float32 or y.type != "INT8" or y.scale is None or y.zero_point is None:
        raise UnsupportedModelError(
            f"step {step.index}: QUANTIZE of other types than float32, int8"
        )
    steps = np.rint(x * (np.float32(1) / np.float32(y.scale))).astype(np.float64)
    return np.clip(steps + y.zero_point, -128, 127).astype(np.int8)


def _dequantize(model: IntegerModel, step: OtherStep, x: Array) -> Array:
    grid = model.tensor(step.inputs[0])
    if x.dtype != np.int8 or grid.scale is None or grid.zero_point is None:
        raise UnsupportedModelError(f"step {step.index}: DEQUANTIZE of another type than int8")
    return (x.astype(np.int32) - grid.zero_point).astype(np.float32) * np.float32(grid.scale)


_KNOWN: dict[str, Callable[..., Array]] = {
    "RESHAPE": _reshape,
    "MAX_POOL_2D": _max_pool,
    "AVERAGE_POOL_2D": _average_pool,
    "MEAN": _mean,
    "ADD": _add,
    "MAXIMUM": _maximum,
    "MINIMUM": _minimum,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
}
