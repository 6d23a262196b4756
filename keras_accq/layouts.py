"""Spill schedules: where named kernel layouts widen their narrow sums.

A kernel sums products in int16 lanes and widens them to int32 (a *spill*), or in int8 lanes and
widens them to int16, just before a further step could take a lane out of range, whatever the
inputs. Schedules follow from the weights alone.
int32 additions commute, so kernels take steps in the order that needs few spills: of each 128
consecutive steps, the heaviest first (by the greatest of the bounds below over its lanes; of equals
the first) goes into the first of their segments in which the layout's exactness test still holds,
else into a new one. This is the one Python table of them; the packing code of the kernels computes
the same figures (`tflite_kernels/kernels/schedule.h`) and a test holds the two equal.

Layouts, L = 32767, for operands in [a, b]:

avx2_k4n16 (convolution, fully connected; of the kernels avx2_k4n16 and sse41_k4n16)
    PMADDUBSW and PADDW. A step is a group of 4 consecutive k for a block of 16 output channels;
    each channel has two int16 lanes, one for the first pair of the group and one for the second.
    Groups lie within runs of contiguous input bytes (one kernel row, kw * cin, where the dilation
    along w is 1 and the convolution has one group; otherwise one tap, cin / groups), the last group
    of a run filled with zero weights. The operand has one of two forms, chosen per block:
    - shifted: u = x - in_min in [0, R], R = in_max - in_min;
    - signed: x in its range widened to hold 0, as |x| * (sign(x) * w), for which a group that holds
      -128 is split, because VPSIGNB can not negate it.
    A segment is exact when, for operands in [low, high] and in each of the block's 32 lanes,
    high * Sp - low * Sn <= L and high * Sn - low * Sp <= L, Sp and Sn being the sums of that lane's
    positive and negative weights: then neither VPMADDUBSW saturates nor a sum that is read is out
    of range. A group that breaks this alone is split into two steps, with the weights trunc(w / 2)
    and w - trunc(w / 2). A block takes the signed form where 3 * steps + spills is less than
    2 * steps + spills of the shifted one, which is what they cost in vector instructions.

avx2_dw (depthwise convolution with one output per input channel)
    The shifted form and the same test and split; a step is a pair of consecutive taps in file
    order (a last odd tap is paired with a zero weight) for a block of 32 channels, with one int16
    lane each. A block for which 7 * steps + 4 * spills is more than 10 times its pairs is
    multiplied in 32 bits instead, which then costs less.

neon_dot8 (convolution, fully connected)
    SMLAL and SMLAL2 on x as stored, whose range is widened to hold 0. Runs as above are cut into
    groups of 16 bytes, the last one filled with zero weights, for a block of 4 output channels;
    each channel has eight int16 lanes, of the bytes i and i + 8. The same test and split.

neon_dot16 (convolution, fully connected, of layers that `fits_bytes` takes)
    MLA on x as stored, widened likewise. Runs, groups and blocks as in neon_dot8, but each channel
    has sixteen int8 lanes, one per byte: L = 127 in the same test. Nothing is ever split.

neon_dw (depthwise convolution with one output per input channel; of the kernels neon_dw and
portable_dw)
    SMLAL on x as stored, likewise widened; steps and blocks as in avx2_dw, never in 32 bits. The
    same test and split.

portable_dot8 (convolution, fully connected)
    As neon_dot8, but the eight lanes of a channel are of the bytes 2 * i and 2 * i + 1.

Kernels with int32 sums, like avx512vnni_k4n32, never spill and have no layout here.

Blocks of channels never cross convolution groups; the last block of a group may be partial.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import IntArray, accumulator_limit, widened_range, worst_case
from keras_accq.certificate import Spills
from keras_accq.reference import Int8Array

_LIMIT = accumulator_limit(16)
_BYTE_LIMIT = accumulator_limit(8)

# Steps that are put into segments together.
_CHUNK = 128

# Output channels that share a schedule.
_BLOCK = 16
_DEPTHWISE_BLOCK = 32
_DOT_BLOCK = 4

# Weights are packed in pieces of about this many, which keeps the 32-bit copies small.
_PIECE = 1 << 21


@dataclass(frozen=True)
class _Layer:
    """What a layout needs to know of a layer: the arguments of `spills`."""

    q: Int8Array
    groups: int
    run: int
    in_min: int
    in_max: int


# Loads are what a step adds to each lane's bounds: uint16 [steps, blocks, bounds].
_Loads = NDArray[np.uint16]


def _blocks_of(layer: _Layer, block: int) -> Int8Array:
    """The weights as [blocks, block, K], each group's last block filled with zero channels."""
    channels, k = layer.q.shape
    grouped = layer.q.reshape(layer.groups, channels // layer.groups, k)
    return _filled(grouped, 1, block).reshape(-1, block, k)


def _filled(values: Int8Array, axis: int, multiple: int) -> Int8Array:
    missing = -values.shape[axis] % multiple
    if not missing:
        return values
    return np.pad(values, [(0, missing if i == axis else 0) for i in range(values.ndim)])


def _in_order(steps: Int8Array) -> NDArray[np.int32]:
    """Each step's weights side by side in memory: loads are computed step by step."""
    return np.ascontiguousarray(steps, np.int32)


class _Figures(NamedTuple):
    """Steps and spills of each block, int64 [blocks]; `groups` is the steps before splitting."""

    steps: IntArray
    spills: IntArray
    groups: int


def _pack(
    loads: _Loads, split: NDArray[np.bool_] | None = None, *, limit: int = _LIMIT
) -> _Figures:
    """Schedules of all blocks at once: first fit, heaviest first.

    Args:
        loads: Of groups that are one step; or of both halves of all groups, one behind the other,
            the second half 0 where the group is one step.
        split: With halves, which groups of which blocks are two steps, bool [groups, blocks].
        limit: What the loads of a segment may add up to in each lane.
    """
    if split is None:
        steps = loads.transpose(1, 0, 2)
        counts = np.full(steps.shape[0], steps.shape[1])
        groups = steps.shape[1]
    else:
        groups = split.shape[0]
        present = np.stack([np.ones_like(split), split], 1).reshape(2 * groups, -1).T
        counts = present.sum(axis=1)
        # Each block's steps, closed up.
        order = np.argsort(~present, axis=1, kind="stable")[:, : counts.max()]
        steps = np.take_along_axis(loads.transpose(1, 0, 2), order[:, :, None], axis=1)
    blocks = len(counts)
    size = min(_CHUNK, steps.shape[1])
    chunks = -(-steps.shape[1] // size)
    rows = np.zeros((blocks, chunks * size, loads.shape[2]), np.uint16)
    rows[:, : steps.shape[1]] = steps
    here = np.clip(counts[:, None] - size * np.arange(chunks), 0, size).reshape(-1)
    segments = _first_fit(rows.reshape(-1, size, loads.shape[2]), here, limit)
    return _Figures(counts, segments.reshape(blocks, chunks).sum(axis=1), groups)


def _first_fit(steps: NDArray[np.uint16], counts: IntArray, limit: int) -> IntArray:
    """How many segments each row needs.

    Args:
        steps: Loads, uint16 [rows, steps, bounds], each at most the limit.
        counts: How many steps of each row there are; the others are 0.
        limit: What the loads of a segment may add up to.
    """
    rows, size, bounds = steps.shape
    most = steps.max(axis=2).astype(np.int32)
    most[np.arange(size) >= counts[:, None]] = -1
    heaviest_first = np.argsort(-most, axis=1, kind="stable")
    left = np.full((rows, size, bounds), limit, np.uint16)
    used = np.zeros(rows, np.int64)
    every = np.arange(rows)
    for i in range(int(counts.max())):
        step = steps[every, heaviest_first[:, i]]
        # All fit in the first segment not used yet.
        fits = (step[:, None] <= left[:, : used.max() + 1]).all(axis=2)
        chosen = fits.argmax(axis=1)
        left[every, chosen] -= step
        used = np.maximum(used, np.where(i < counts, chosen + 1, 0))
    return used


def _loads(weights: NDArray[np.int32], low: int, high: int) -> _Loads:
    """What steps add to the two bounds of their lanes, for operands in [low, high] with 0.

    Args:
        weights: int32 [steps, blocks, lanes, weights of a lane].
        low: Smallest operand.
        high: Largest operand.

    Returns:
        uint16 [steps, blocks, 2 * lanes]: a pair of weights adds at most 255 * 256.
    """
    # Added up by hand: NumPy's sum over an axis of one or two is many times slower.
    each = [weights[..., i] for i in range(weights.shape[3])]
    positive = reduce(np.add, [np.maximum(w, 0) for w in each])
    negative = positive - reduce(np.add, each)
    return np.concatenate(
        [high * positive - low * negative, high * negative - low * positive],
        axis=2,
        dtype=np.uint16,
        casting="unsafe",
    )


def _pack_pairs(
    weights: NDArray[np.int32], low: int, high: int, also_split: NDArray[np.bool_] | None = None
) -> _Figures:
    """Schedules for steps of pairs, [steps, blocks, lanes, 2]; too heavy ones are split.

    Args:
        weights: int32 [steps, blocks, lanes, 2].
        low: Smallest operand.
        high: Largest operand.
        also_split: Steps to split for another reason, bool [steps, blocks].
    """
    loads = _loads(weights, low, high)
    split: NDArray[np.bool_] = np.any(loads > _LIMIT, axis=2)
    if also_split is not None:
        split |= also_split
    if not split.any():
        return _pack(loads)
    first = np.where(split[:, :, None, None], np.sign(weights) * (np.abs(weights) // 2), weights)
    halves = np.stack([_loads(first, low, high), _loads(weights - first, low, high)], 1)
    return _pack(halves.reshape(-1, *loads.shape[1:]), split)


def _total(figures: _Figures) -> Spills:
    return Spills(
        steps=int(figures.steps.sum()),
        spills=int(figures.spills.sum()),
        extra_steps=int((figures.steps - figures.groups).sum()),
    )


def _cheaper_form(weights: NDArray[np.int32], layer: _Layer) -> Spills:
    """Schedules for steps of pairs, [steps, blocks, lanes, 2], in the form that costs less."""
    shifted = _pack_pairs(weights, 0, layer.in_max - layer.in_min)
    holds_least: NDArray[np.bool_] = np.any(weights == -128, axis=(2, 3))
    signed = _pack_pairs(weights, *widened_range(layer.in_min, layer.in_max), holds_least)
    cheaper = 3 * signed.steps + signed.spills < 2 * shifted.steps + shifted.spills
    return _total(
        _Figures(
            np.where(cheaper, signed.steps, shifted.steps),
            np.where(cheaper, signed.spills, shifted.spills),
            shifted.groups,
        )
    )


def _avx2_k4n16(layer: _Layer) -> Spills:
    blocks = _blocks_of(layer, _BLOCK)
    count = blocks.shape[0]
    runs = _filled(blocks.reshape(count, _BLOCK, -1, layer.run), 3, 4)
    steps = _in_order(runs.reshape(count, _BLOCK, -1, 2, 2).transpose(2, 0, 1, 3, 4))
    return _cheaper_form(steps.reshape(steps.shape[0], count, 2 * _BLOCK, 2), layer)


def _pairs_of_taps(layer: _Layer) -> NDArray[np.int32]:
    taps = _filled(_blocks_of(layer, _DEPTHWISE_BLOCK), 2, 2)
    return _in_order(taps.reshape(len(taps), _DEPTHWISE_BLOCK, -1, 2).transpose(2, 0, 1, 3))


def _avx2_dw(layer: _Layer) -> Spills:
    figures = _pack_pairs(_pairs_of_taps(layer), 0, layer.in_max - layer.in_min)
    pays = 7 * figures.steps + 4 * figures.spills <= 10 * figures.groups
    narrow = _total(_Figures(figures.steps[pays], figures.spills[pays], figures.groups))
    return replace(narrow, int32_steps=int((~pays).sum()) * figures.groups)


def _steps_of_16(layer: _Layer) -> Int8Array:
    """The groups of 16 bytes of blocks of 4 channels: [blocks, 4, steps, 16]."""
    blocks = _blocks_of(layer, _DOT_BLOCK)
    count = blocks.shape[0]
    runs = _filled(blocks.reshape(count, _DOT_BLOCK, -1, layer.run), 3, 16)
    return runs.reshape(count, _DOT_BLOCK, -1, 16)


def _dot8(layer: _Layer, *, neighbours: bool) -> Spills:
    """Eight lanes per channel, of neighbouring bytes or of bytes eight apart."""
    groups = _steps_of_16(layer)
    count = groups.shape[0]
    if neighbours:
        lanes = groups.reshape(count, _DOT_BLOCK, -1, 8, 2).transpose(2, 0, 1, 3, 4)
    else:
        lanes = groups.reshape(count, _DOT_BLOCK, -1, 2, 8).transpose(2, 0, 1, 4, 3)
    steps = _in_order(lanes)
    return _total(
        _pack_pairs(
            steps.reshape(steps.shape[0], count, 8 * _DOT_BLOCK, 2),
            *widened_range(layer.in_min, layer.in_max),
        )
    )


def _neon_dot16(layer: _Layer) -> Spills:
    steps = _in_order(_steps_of_16(layer).transpose(2, 0, 1, 3))
    lanes = steps.reshape(*steps.shape[:2], 16 * _DOT_BLOCK, 1)
    loads = _loads(lanes, *widened_range(layer.in_min, layer.in_max))
    return _total(_pack(loads, limit=_BYTE_LIMIT))


def _neon_dw(layer: _Layer) -> Spills:
    in_range = widened_range(layer.in_min, layer.in_max)
    return _total(_pack_pairs(_pairs_of_taps(layer), *in_range))


_LAYOUTS: dict[str, Callable[[_Layer], Spills]] = {
    "avx2_k4n16": _avx2_k4n16,
    "avx2_dw": _avx2_dw,
    "neon_dot8": partial(_dot8, neighbours=False),
    "neon_dot16": _neon_dot16,
    "neon_dw": _neon_dw,
    "portable_dot8": partial(_dot8, neighbours=True),
}


def _pieces(layer: _Layer) -> Iterator[_Layer]:
    """Whole groups, or whole blocks (of any layout) of the only group, of limited size."""
    channels, k = layer.q.shape
    unit = _DEPTHWISE_BLOCK if layer.groups == 1 else channels // layer.groups
    step = max(1, _PIECE // max(unit * k, 1)) * unit
    for start in range(0, channels, step):
        q = layer.q[start : start + step]
        yield replace(layer, q=q, groups=1 if layer.groups == 1 else q.shape[0] // unit)


def fits_bytes(q: Int8Array, in_min: int, in_max: int) -> bool:
    """Whether a layer may be summed in int8 lanes, as the layout neon_dot16 does.

    It may when any two products fit such a lane together, and every output's sum of products fits
    int16, so that no int16 lane that takes some of them can overflow.

    Args:
        q: Weights, int8 [channels, K].
        in_min: Smallest stored input.
        in_max: Largest stored input.
    """
    heaviest = int(np.abs(q.astype(np.int16)).max(initial=0))
    low, high = widened_range(in_min, in_max)
    if 2 * heaviest * max(high, -low) > _BYTE_LIMIT:
        return False
    return bool((worst_case(q, in_min, in_max) <= _LIMIT).all())


def spills(
    q: Int8Array, names: Iterable[str], *, groups: int, run: int, in_min: int, in_max: int
) -> dict[str, Spills]:
    """The spill figures of some layouts for a layer.

    Args:
        q: Weights, int8 [channels, K], K in file order; at least one channel and one k.
        names: Layouts; they must be for this kind of layer, and neon_dot16 for one of which
            `fits_bytes` is true.
        groups: Convolution groups, a divisor of `channels`; 1 for the other kinds.
        run: Length of the runs of K whose inputs lie side by side, a divisor of K: kw * cin for an
            ungrouped convolution without dilation along w, cin / groups for another, K for a
            fully-connected layer; not looked at for a depthwise one.
        in_min: Smallest stored input.
        in_max: Largest stored input.

    Returns:
        By layout name.
    """
    layer = _Layer(q, groups, run, in_min, in_max)
    return {name: _of_pieces(_LAYOUTS[name], layer) for name in names}


def _of_pieces(layout: Callable[[_Layer], Spills], layer: _Layer) -> Spills:
    parts = [layout(piece) for piece in _pieces(layer)]
    return Spills(
        steps=sum(part.steps for part in parts),
        spills=sum(part.spills for part in parts),
        extra_steps=sum(part.extra_steps for part in parts),
        int32_steps=sum(part.int32_steps for part in parts),
    )
