"""Spill schedules, against plain loops that follow the layouts' definitions to the letter."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq import layouts
from keras_accq.certificate import Spills

LIMIT = 32767


def trunc_half(w):
    return int(w / 2)


def joined(steps):
    """The lanes of some steps taken together."""
    return [[w for step in steps for w in step[lane]] for lane in range(len(steps[0]))]


def first_fit(steps, on_range, splits=lambda w: False, limit=LIMIT):
    """Segments (lists of steps) of one block; a step is a list of lanes, a lane a list of weights.

    `on_range` is the range of operands; `splits(w)` tells whether a weight must not be multiplied
    whole.
    """

    def exact(lane):
        return greatest_bound(lane, *on_range) <= limit

    def heaviest(step):
        return max(greatest_bound(lane, *on_range) for lane in step)

    parts, extra = [], 0
    for step in steps:
        if all(exact(lane) and not any(map(splits, lane)) for lane in step):
            parts.append(step)
        else:
            parts.append([[trunc_half(w) for w in lane] for lane in step])
            parts.append([[w - trunc_half(w) for w in lane] for lane in step])
            extra += 1
    segments = []
    for start in range(0, len(parts), 128):
        some = []
        for part in sorted(parts[start : start + 128], key=heaviest, reverse=True):  # stable
            for segment in some:
                if all(exact(lane) for lane in joined([*segment, part])):
                    segment.append(part)
                    break
            else:
                some.append([part])
        segments += some
    return segments, extra


def counts(walked):
    """(steps, spills, extra steps) of one block."""
    segments, extra = walked
    return np.array([sum(map(len, segments)), len(segments), extra])


def figures(blocks):
    return Spills(*np.sum(blocks, axis=0).tolist())


def cheaper_form(blocks, in_min, in_max):
    chosen = []
    for steps in blocks:
        shifted = counts(first_fit(steps, (0, in_max - in_min)))
        signed = counts(first_fit(steps, (min(in_min, 0), max(in_max, 0)), lambda w: w == -128))
        cheap = 3 * signed[0] + signed[1] < 2 * shifted[0] + shifted[1]
        chosen.append(signed if cheap else shifted)
    return figures(chosen)


def channel_blocks(q, groups, size):
    per_group = q.shape[0] // groups
    for group in range(groups):
        rows = q[group * per_group : (group + 1) * per_group].tolist()
        yield from (rows[i : i + size] for i in range(0, per_group, size))


def fill(values, multiple):
    return values + [0] * (-len(values) % multiple)


def greatest_bound(lane, low, high):
    """The greatest magnitude of a lane's sum for operands in [low, high], which holds 0."""
    top = sum(max(w * low, w * high) for w in lane)
    bottom = sum(min(w * low, w * high) for w in lane)
    return max(top, -bottom)


def avx2_k4n16(q, groups, run, in_min, in_max):
    blocks = []
    for rows in channel_blocks(q, groups, 16):
        packed = [
            [w for i in range(0, len(row), run) for w in fill(row[i : i + run], 4)] for row in rows
        ]
        blocks.append(
            [
                [row[i + pair : i + pair + 2] for row in packed for pair in (0, 2)]
                for i in range(0, len(packed[0]), 4)
            ]
        )
    return cheaper_form(blocks, in_min, in_max)


def pairs_of_taps(q):
    for rows in channel_blocks(q, 1, 32):
        yield [[fill(row, 2)[i : i + 2] for row in rows] for i in range(0, q.shape[1], 2)]


def avx2_dw(q, in_min, in_max):
    narrow, int32_steps = [np.zeros(3, int)], 0
    for steps in pairs_of_taps(q):
        count = counts(first_fit(steps, (0, in_max - in_min)))
        if 7 * count[0] + 4 * count[1] > 10 * len(steps):
            int32_steps += len(steps)
        else:
            narrow.append(count)
    return replace(figures(narrow), int32_steps=int32_steps)


def neon_dw(q, in_min, in_max):
    stored = (min(in_min, 0), max(in_max, 0))
    return figures([counts(first_fit(steps, stored)) for steps in pairs_of_taps(q)])


def dot(q, groups, run, in_min, in_max, lanes, limit=LIMIT):
    """`lanes`: the bytes of each of a channel's lanes."""
    blocks = []
    for rows in channel_blocks(q, groups, 4):
        packed = [
            [w for i in range(0, len(row), run) for w in fill(row[i : i + run], 16)] for row in rows
        ]
        blocks.append(
            [
                [[row[i + byte] for byte in lane] for row in packed for lane in lanes]
                for i in range(0, len(packed[0]), 16)
            ]
        )
    stored = (min(in_min, 0), max(in_max, 0))
    return figures([counts(first_fit(steps, stored, limit=limit)) for steps in blocks])


def neon_dot8(*layer):
    return dot(*layer, [(i, i + 8) for i in range(8)])


def neon_dot16(*layer):
    return dot(*layer, [(i,) for i in range(16)], limit=127)


def portable_dot8(*layer):
    return dot(*layer, [(2 * i, 2 * i + 1) for i in range(8)])


@st.composite
def weights(draw, channels, k):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0, 1, 5, 20, 60, 128]))
    q = np.clip(np.rint(rng.normal(0, spread or 1e-9, (channels, k))), -128, 127).astype(np.int8)
    if spread == 128:  # the heaviest pairs there are
        q[:, : k // 2] = draw(st.sampled_from([-128, 127]))
    return q


RANGES = st.sampled_from(
    [(-128, 127), (-8, 7), (-127, 127), (0, 127), (-128, -100), (5, 9), (3, 3), (-128, 0)]
)


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.sampled_from([(1, 5), (1, 16), (1, 35), (2, 6), (4, 40), (3, 3)]),
    st.sampled_from([(1, 1), (1, 7), (3, 4), (3, 6), (9, 5), (2, 33)]),
    RANGES,
)
def test_convolutions(data, shape, taps, in_range):
    (groups, channels), (runs, run) = shape, taps
    q = data.draw(weights(channels, runs * run))
    found = layouts.spills(
        q,
        ["avx2_k4n16", "neon_dot8", "portable_dot8"],
        groups=groups,
        run=run,
        in_min=in_range[0],
        in_max=in_range[1],
    )
    assert found == {
        "avx2_k4n16": avx2_k4n16(q, groups, run, *in_range),
        "neon_dot8": neon_dot8(q, groups, run, *in_range),
        "portable_dot8": portable_dot8(q, groups, run, *in_range),
    }


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.sampled_from([(1, 5), (1, 16), (2, 6), (3, 3)]),
    st.sampled_from([(1, 1), (3, 6), (9, 5), (2, 33), (3, 90)]),
    st.sampled_from([(-8, 7, 7), (0, 15, 4), (5, 9, 7), (-21, -3, 3), (-1, 1, 63)]),
)
def test_convolutions_in_bytes(data, shape, taps, numbers):
    (groups, channels), (runs, run), (low, high, heaviest) = shape, taps, numbers
    magnitudes = st.lists(st.integers(-heaviest, heaviest), min_size=1, max_size=5)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    q = rng.choice(np.array(data.draw(magnitudes), np.int8), (channels, runs * run))
    assert layouts.fits_bytes(q, low, high)
    found = layouts.spills(q, ["neon_dot16"], groups=groups, run=run, in_min=low, in_max=high)
    assert found == {"neon_dot16": neon_dot16(q, groups, run, low, high)}


def test_bytes_are_for_layers_with_room_for_two_products_and_sums_of_16_bits():
    q = np.zeros((2, 600), np.int8)
    assert layouts.fits_bytes(q, -9, 3)
    for weight, fits in ((7, True), (-7, True), (-8, False), (-128, False)):  # 2 * 9 * 7 = 126
        q[1, 1] = weight
        assert layouts.fits_bytes(q, -9, 3) == fits
    q[1, :520] = 7  # 9 * 7 * 520 = 32760
    for weight, fits in ((-2, True), (-3, False), (0, True), (1, False)):
        q[1, 599] = weight
        assert layouts.fits_bytes(q, -9, 3) == fits
    assert layouts.fits_bytes(q, 2, 3)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(1, 26), RANGES)
def test_depthwise_convolutions(data, channels, taps, in_range):
    q = data.draw(weights(channels, taps))
    found = layouts.spills(
        q, ["avx2_dw", "neon_dw"], groups=1, run=taps, in_min=in_range[0], in_max=in_range[1]
    )
    assert found == {"avx2_dw": avx2_dw(q, *in_range), "neon_dw": neon_dw(q, *in_range)}


def test_more_steps_than_are_put_in_order_together():
    q = np.random.default_rng(3).normal(0, 25, (3, 2200)).round().astype(np.int8)
    limits = {"in_min": -128, "in_max": 127}
    found = layouts.spills(q, ["avx2_k4n16", "neon_dot8"], groups=1, run=2200, **limits)
    assert found == {
        "avx2_k4n16": avx2_k4n16(q, 1, 2200, -128, 127),
        "neon_dot8": neon_dot8(q, 1, 2200, -128, 127),
    }
    assert found["neon_dot8"].steps > 128
    taps = q[:, :300]
    found = layouts.spills(taps, ["neon_dw"], groups=1, run=300, **limits)
    assert found == {"neon_dw": neon_dw(taps, -128, 127)}


@pytest.mark.parametrize("groups", [1, 20])
def test_pieces_of_a_large_layer_join(monkeypatch, groups):
    rng = np.random.default_rng(2)
    q = rng.integers(-60, 61, (100, 48)).astype(np.int8)
    arguments = {"groups": groups, "run": 12, "in_min": -128, "in_max": 127}
    whole = layouts.spills(q, ["avx2_k4n16", "neon_dot8"], **arguments)
    monkeypatch.setattr(layouts, "_PIECE", 1)
    assert layouts.spills(q, ["avx2_k4n16", "neon_dot8"], **arguments) == whole


class TestEdges:
    """One block, one lane in use: where a segment must end."""

    def spills(self, name, row, in_min=-128, in_max=127):
        q = np.array([row], np.int8)
        return layouts.spills(q, [name], groups=1, run=q.shape[1], in_min=in_min, in_max=in_max)[
            name
        ]

    def test_avx2_segment_ends_one_unit_past_the_limit(self):
        # R = 255 leaves a lane's positive part 128.
        step = [64, 0, 0, 0]
        assert self.spills("avx2_k4n16", step * 2) == Spills(2, 1, 0)
        assert self.spills("avx2_k4n16", [*step, 65, 0, 0, 0]) == Spills(2, 2, 0)
        # The pairs of a group are two lanes, and signs do not add.
        assert self.spills("avx2_k4n16", [128 - 1, 1, 127, 1]) == Spills(1, 1, 0)
        assert self.spills("avx2_k4n16", [127, 1, -128, 0, 0, 0, 127, 1]) == Spills(2, 1, 0)

    def test_avx2_splits_a_pair_one_unit_past_the_limit(self):
        # The signed form would have to split -128 in any case, so the shifted one is taken.
        assert self.spills("avx2_k4n16", [-128, 0, 0, 0]) == Spills(1, 1, 0)
        assert self.spills("avx2_k4n16", [-128, -1, 0, 0]) == Spills(2, 2, 1)
        assert self.spills("avx2_dw", [-128, -1]) == Spills(0, 0, 0, 1)

    def test_avx2_takes_the_signed_form_where_it_costs_less(self):
        # Shifted: 2 * 2 steps + 2 spills. Signed: 3 * 1 + 1.
        assert self.spills("avx2_k4n16", [127, 2, 0, 0]) == Spills(1, 1, 0)
        # 3 * 2 + 1 is no less than 2 * 2 + 2.
        assert self.spills("avx2_k4n16", [65, 0, 0, 0] * 2) == Spills(2, 2, 0)

    def test_avx2_dw_multiplies_in_32_bits_where_that_costs_less(self):
        light, heavy = [64, 0], [127, 127]  # half a segment; two steps, with a spill after each
        # 14 steps and 8 spills of 13 pairs: 7 * 14 + 4 * 8 <= 130.
        assert self.spills("avx2_dw", light * 12 + heavy) == Spills(14, 8, 1)
        # 12 steps and 7 spills of 11: 112 > 110.
        assert self.spills("avx2_dw", light * 10 + heavy) == Spills(0, 0, 0, 11)

    def test_steps_that_fit_join_wherever_they_are(self):
        # 128 per lane: heavy ones first, then light ones into the room that these leave.
        row = [w for weight in (100, 100, 28, 28) for w in (weight, 0, 0, 0)]
        assert self.spills("avx2_k4n16", row) == Spills(4, 2, 0)
        # In this order 60 would go to 40, and 88 would be alone.
        row = [w for weight in (40, 60, 88, 68) for w in (weight, 0, 0, 0)]
        assert self.spills("avx2_k4n16", row) == Spills(4, 2, 0)

    def test_neon_segment_ends_one_unit_past_the_limit(self):
        lane = [0] * 7
        assert self.spills("neon_dot8", [127, *lane, 127, *lane]) == Spills(1, 1, 0)
        assert self.spills("neon_dot8", [127, *lane, -128, *lane]) == Spills(1, 1, 0)
        # 256 * 128 = 32768.
        assert self.spills("neon_dot8", [-128, *lane, -128, *lane]) == Spills(2, 2, 1)
        assert self.spills("portable_dot8", [-128, 0, 0, -128]) == Spills(1, 1, 0)
        assert self.spills("portable_dot8", [-128, -128]) == Spills(2, 2, 1)
        assert self.spills("neon_dw", [127, -128, 1]) == Spills(2, 1, 0)
        assert self.spills("neon_dw", [127, -128, 2]) == Spills(2, 2, 0)
        assert self.spills("neon_dw", [-128, -128]) == Spills(2, 2, 1)

    def test_bytes_segment_ends_one_unit_past_the_limit(self):
        rest = [0] * 15
        for last, spills in ((1, 1), (-1, 1), (2, 2)):  # 8 * 15 = 120, 8 * 16 = 128
            row = [7, *rest, 7, *rest, last, *rest]
            assert self.spills("neon_dot16", row, -8, 7) == Spills(3, spills, 0)
        # Neighbours have lanes of their own.
        assert self.spills("neon_dot16", [7] * 32, -8, 7) == Spills(2, 1, 0)

    def test_a_range_without_zero_is_widened_for_stored_inputs_only(self):
        # [100, 120]: stored inputs reach 120, u = x - 100 only 20.
        row = [60, 0, 0, 0, 0, 0, 0, 0] * 6
        assert self.spills("neon_dot8", row, 100, 120).spills == 2
        assert self.spills("avx2_k4n16", row, 100, 120).spills == 1


def test_schedules_are_exact_for_every_input():
    """No sum that a schedule lets a lane take can leave int16, whatever the inputs."""
    rng = np.random.default_rng(7)
    q = rng.integers(-128, 128, (16, 64)).astype(np.int8)
    (rows,) = channel_blocks(q, 1, 16)
    steps = [[row[i + p : i + p + 2] for row in rows for p in (0, 2)] for i in range(0, 64, 4)]
    segments, _ = first_fit(steps, (0, 255))
    for segment in segments:
        for lane in range(32):
            taken = np.array([w for step in segment for w in step[lane]])
            for u in (np.where(taken > 0, 255, 0), np.where(taken < 0, 255, 0)):
                assert np.abs(np.cumsum(u * taken)).max() <= LIMIT
