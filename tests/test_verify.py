"""Certificates of files: built from bytes alone, and broken on purpose."""

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest
import tflite_models as models
from flatbuffers import flexbuffers

import keras_accq as accq
from keras_accq.bounds import Partition
from keras_accq.tflite import options

MONOLITHIC = {"partition": options.MONOLITHIC}


def conv(q, *, claim=None, channels=None, **arguments):
    """A file of one convolution, [channels, kh, kw, cin]; `claim` makes it one of our ops."""
    q = np.asarray(q, np.int8)
    blob = None if claim is None else options.encode(options.CONV_2D, {"padding": 1, **claim})
    shape = (1, q.shape[1] + 2, q.shape[2] + 2, channels or q.shape[3])
    return models.conv2d(q, shape, padding="VALID", custom_options=blob, **arguments)


def channel_of(total, k=32):
    """A channel whose worst case at [-128, 127] is 128 * total, total in one sign."""
    q = np.zeros(k, np.int64)
    q[: total // 100] = 100
    q[total // 100] = total % 100
    return q.reshape(1, 1, k)


class TestClaims:
    def test_a_full_budget_holds_and_one_unit_more_does_not(self):
        # 255 * 128 = 32640 <= 32767 < 32768 = 256 * 128
        good = accq.verify(conv([channel_of(10), channel_of(255)], claim=MONOLITHIC))
        assert good.ok
        assert good.verdict == "P = 16 monolithic: all 1 op"
        assert good.ops[0].worst_case == (1280, 32640)
        assert good.ops[0].worst_channel == 1

        bad = accq.verify(conv([channel_of(10), channel_of(256)], claim=MONOLITHIC))
        assert not bad.ok
        assert bad.verdict == (
            "P = 16 monolithic: 0 of 1 ops; not conv (channel 1 needs 32768, limit 32767)"
        )
        with pytest.raises(accq.BudgetError, match=r"conv \(op 0\).*channel 1 needs 32768"):
            bad.raise_if_broken()

    def test_a_narrower_input_range_is_counted_because_the_op_clamps_to_it(self):
        q = [channel_of(1000)]
        assert not accq.verify(conv(q, claim=MONOLITHIC)).ok
        clamped = accq.verify(conv(q, claim={**MONOLITHIC, "in_min": -32, "in_max": 31}))
        assert clamped.ok
        assert clamped.ops[0].worst_case == (32000,)
        assert (clamped.ops[0].in_min, clamped.ops[0].in_max) == (-32, 31)

    def test_other_widths(self):
        certificate = accq.verify(conv([channel_of(63)], claim={**MONOLITHIC, "acc_bits": 14}))
        assert certificate.ok
        assert certificate.verdict == "P = 14 monolithic: all 1 op"
        assert not accq.verify(conv([channel_of(64)], claim={**MONOLITHIC, "acc_bits": 14})).ok

    def test_tiles_and_lanes(self):
        q = np.full((1, 1, 1, 64), 8)
        for claim, partition, worst in (
            ({"partition": options.RUNS, "partition_size": 31}, Partition("runs", 31), 31),
            ({"partition": options.LANES, "partition_size": 8}, Partition("lanes", 8), 8),
        ):
            (op,) = accq.verify(conv(q, claim=claim)).ops
            assert op.partition == partition
            assert op.worst_case == (worst * 8 * 128,)
        assert not accq.verify(conv(q, claim={"partition": options.RUNS, "partition_size": 32})).ok

    def test_lossless_claims_nothing(self):
        certificate = accq.verify(conv(np.full((2, 3, 3, 16), 50), claim={}))
        assert certificate.ok
        assert certificate.verdict == (
            "lossless: 16-bit with spill schedules, all 1 op exact; "
            "no monolithic claim (least P = 21)"
        )
        assert certificate.ops[0].partition is None


class TestFigures:
    def test_of_one_op(self):
        (op,) = accq.verify(conv(np.full((3, 3, 3, 16), 50))).ops
        assert (op.subgraph, op.index, op.name, op.kind) == (0, 0, "conv", "conv2d")
        assert (op.k, op.channels, op.acc_bits, op.limit) == (144, 3, 16, 32767)
        assert op.worst_case == (144 * 50 * 128,) * 3
        assert op.least_acc_bits == 21
        assert op.largest_safe_tile == 5  # 5 * 50 * 128 = 32000
        assert set(op.spills) == {"avx2_k4n16", "neon_dot8", "portable_dot8"}
        # Rows of 48 bytes are 3 steps each; 2 pairs of products of 6400 fit a lane.
        assert (op.spills["neon_dot8"].steps, op.spills["neon_dot8"].spills) == (9, 5)

    def test_small_weights_and_operands_have_the_layout_in_bytes(self):
        few = {**MONOLITHIC, "in_min": -8, "in_max": 7}
        (op,) = accq.verify(conv(np.full((3, 3, 3, 16), 7), claim=few)).ops
        assert set(op.spills) == {"avx2_k4n16", "neon_dot8", "neon_dot16", "portable_dot8"}
        # Two products of 56 fit 8 bits.
        assert (op.spills["neon_dot16"].steps, op.spills["neon_dot16"].spills) == (9, 5)
        (op,) = accq.verify(conv(np.full((3, 3, 3, 16), 8), claim=few)).ops
        assert "neon_dot16" not in op.spills

    def test_rows_are_runs_unless_dilation_or_groups_part_them(self):
        q = np.ones((4, 3, 3, 3), np.int8)
        steps = {
            name: accq.verify(file).ops[0].spills["avx2_k4n16"].steps
            for name, file in {
                "rows": conv(q),
                "dilated": models.conv2d(q, (1, 9, 9, 3), dilation=(1, 2), padding="VALID"),
                "dilated rows": models.conv2d(q, (1, 9, 9, 3), dilation=(2, 1), padding="VALID"),
                "groups": conv(q, channels=6),
            }.items()
        }
        assert steps == {
            "rows": 3 * 3,  # runs of 9 in groups of 4
            "dilated": 9,  # runs of 3
            "dilated rows": 3 * 3,
            "groups": 2 * 9,
        }

    def test_depthwise_channels_are_the_last_axis(self):
        q = np.zeros((1, 3, 3, 4), np.int8)
        q[..., 2] = 7
        (op,) = accq.verify(models.depthwise_conv2d(q, (1, 5, 5, 2))).ops
        assert op.kind == "depthwise_conv2d"
        assert op.k == 9
        assert op.worst_case == (0, 0, 9 * 7 * 128, 0)
        assert op.spills == {}  # their kernels take a depth multiplier of 1
        (op,) = accq.verify(models.depthwise_conv2d(q, (1, 5, 5, 4))).ops
        assert set(op.spills) == {"avx2_dw", "neon_dw"}

    def test_transposed_convolution(self):
        q = np.zeros((2, 3, 3, 4), np.int8)
        q[0, 0, 0] = 20  # corners: one phase
        q[0, 2, 2] = 30
        q[0, 1, 1] = 60  # the centre: a phase of its own
        q[1, 1, 0] = -7
        file = models.transpose_conv(q, (1, 5, 5, 4), stride=(2, 2))
        (op,) = accq.verify(file).ops
        assert (op.kind, op.k, op.channels) == ("transpose_conv", 36, 2)
        assert op.worst_case == (4 * 110 * 128, 4 * 7 * 128)
        assert op.phase_worst_case == (4 * 60 * 128, 4 * 7 * 128)
        assert (op.least_acc_bits, op.phase_least_acc_bits) == (17, 16)
        # Phases of 2 x 2, 2 x 1, 1 x 2 and 1 x 1 taps of 4 channels, in groups of 4 bytes.
        assert op.spills["avx2_k4n16"].steps == 4 + 2 + 2 + 1
        # Each row of a phase fits a group of 16 bytes.
        assert op.spills["neon_dot8"].steps == 2 + 2 + 1 + 1
        text = str(accq.verify(file))
        assert "56320 (phases 30720)" in text
        assert "17 (phases 16)" in text

    def test_a_tile_is_counted_as_the_file_has_it_in_every_phase(self):
        claim = {"partition": options.RUNS, "partition_size": 3, "stride_h": 2}
        file = models.transpose_conv(
            np.arange(1, 9).reshape(1, 4, 1, 2),
            (1, 4, 4, 2),
            stride=(2, 1),
            custom_options=options.encode(options.TRANSPOSE_CONV, claim),
        )
        (op,) = accq.verify(file).ops
        # Cells 1 2 3 | 4 5 6 | 7 8; the first phase has 1 2 5 6, the second 3 4 7 8.
        assert op.worst_case == (15 * 128,)
        assert op.phase_worst_case == (15 * 128,)  # 7 8
        assert accq.verify(file).ok

    def test_fully_connected(self):
        (op,) = accq.verify(models.fully_connected(np.full((2, 40), -3), (1, 40))).ops
        assert (op.kind, op.k, op.worst_case) == ("fully_connected", 40, (120 * 128,) * 2)

    def test_the_hash_is_the_files(self, tmp_path):
        file = conv(channel_of(5)[None])
        path = tmp_path / "model.tflite"
        path.write_bytes(file)
        assert accq.verify(path).sha256 == hashlib.sha256(file).hexdigest()
        assert accq.verify(str(path)) == accq.verify(file)


class TestExclusions:
    def test_built_ins_are_measured_and_named(self):
        certificate = accq.verify(conv(np.full((2, 3, 3, 16), 50)))
        assert certificate.verdict == "no claim: 1 built-in int8 op (least P = 21): conv"
        assert certificate.ok

    def test_an_op_that_can_not_be_measured(self):
        graph = models.GraphBuilder()
        x = graph.tensor("input", [1, 4, 4, 2], dtype=np.float32)
        w = graph.tensor("w", [3, 1, 1, 2], dtype=np.float32, data=np.ones((3, 1, 1, 2)))
        y = graph.tensor("float_conv", [1, 4, 4, 3], dtype=np.float32)
        graph.op(models.Op.CONV_2D, [x, w, -1], [y], options=models.schema.Conv2DOptionsT())
        certificate = accq.verify(graph.build([x], [y]))
        assert certificate.ops == ()
        (excluded,) = certificate.excluded
        assert (excluded.op, excluded.name) == ("CONV_2D", "float_conv")
        assert "not covered: 1 op: float_conv (CONV_2D: " in certificate.verdict

    def test_a_strangers_custom_op(self):
        graph = models.GraphBuilder()
        x = graph.tensor("input", [1, 4], scale=0.1)
        y = graph.tensor("mystery", [1, 4], scale=0.1)
        graph.op("TheirMatMul", [x], [y])
        certificate = accq.verify(graph.build([x], [y]))
        assert "mystery (TheirMatMul: a custom operator" in certificate.verdict

    def test_no_dot_products(self):
        graph = models.GraphBuilder()
        x = graph.tensor("input", [1, 4], scale=0.1)
        file = graph.build([x], [models.add_add(graph, x, x)])
        assert accq.verify(file).verdict == "no dot-product ops"


class TestBadFiles:
    @pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 64, bytes(range(256)) * 8])
    def test_not_a_model(self, data):
        with pytest.raises(accq.InvalidFileError):
            accq.verify(data)

    def test_truncated_anywhere(self):
        file = conv(channel_of(5)[None], claim=MONOLITHIC)
        for size in range(0, len(file), 37):
            with pytest.raises(accq.InvalidFileError):
                accq.verify(file[:size])

    def test_random_damage_gives_a_certificate_or_a_plain_error(self):
        file = conv(channel_of(5)[None], claim=MONOLITHIC)
        rng = np.random.default_rng(11)
        for _ in range(300):
            damaged = bytearray(file)
            for at in rng.integers(0, len(file), rng.integers(1, 6)):
                damaged[at] = rng.integers(0, 256)
            try:
                accq.verify(damaged).to_json()
            except accq.InvalidFileError:
                continue

    def test_options_of_a_later_version(self):
        values = {"version": 2, "acc_bits": 16}
        file = models.conv2d(
            np.ones((1, 1, 1, 4)), (1, 2, 2, 4), custom_options=bytes(flexbuffers.Dumps(values))
        )
        with pytest.raises(accq.InvalidFileError, match="version 2"):
            accq.verify(file)


def large_file():
    """A file of about 4 MB: three wide convolutions."""
    rng = np.random.default_rng(0)
    graph = models.GraphBuilder()
    x = graph.tensor("input", [1, 4, 4, 256], scale=0.05)
    y = x
    for name, (cin, cout) in {"a": (256, 384), "b": (384, 512), "c": (512, 256)}.items():
        q = np.clip(np.rint(rng.normal(0, 25, (cout, 3, 3, cin))), -127, 127)
        y = models.add_conv2d(graph, y, q, name=name)
    return graph.build([x], [y])


def test_a_file_of_4_mb_takes_less_than_2_seconds():
    file = large_file()
    assert len(file) > 3.7e6
    accq.verify(conv(channel_of(5)[None]))  # imports
    start = time.process_time()  # other processes may keep this one waiting
    accq.verify(file)
    assert time.process_time() - start < 2


def test_needs_neither_tensorflow_nor_litert(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(conv(channel_of(5)[None]))
    code = (
        "import sys, keras_accq as accq; accq.verify(sys.argv[1]); "
        "bad = {'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
