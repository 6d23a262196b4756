"""Certificates as records: verdicts in words, tables, JSON and its refusals."""

import json
from dataclasses import replace

import pytest

from keras_accq.bounds import ALL, Partition
from keras_accq.certificate import Certificate, ExcludedOp, OpCertificate, Spills
from keras_accq.errors import BudgetError, InvalidFileError


def an_op(index, *, worst=(100, 32767), partition=ALL, acc_bits=16, custom=True, least=16):
    return OpCertificate(
        subgraph=0,
        index=index,
        name=f"conv2d_{index}",
        kind="conv2d",
        custom=custom,
        k=27,
        channels=len(worst),
        acc_bits=acc_bits,
        partition=partition,
        in_min=-128,
        in_max=127,
        limit=2 ** (acc_bits - 1) - 1,
        worst_case=tuple(worst),
        least_acc_bits=least,
        largest_safe_tile=27,
        spills={"avx2_k4n16": Spills(steps=12, spills=3, extra_steps=1)},
    )


def certificate(*ops, excluded=()):
    return Certificate("ab" * 32, ops, tuple(excluded))


FLOAT = ExcludedOp(0, 9, "logits", "FULLY_CONNECTED", "float32 weights")
BROKEN = {"worst": (1, 34812, 5), "least": 17}


class TestPhases:
    OP = replace(an_op(0), kind="transpose_conv", phase_worst_case=(100, 16000))

    def test_json_keeps_them(self):
        record = json.loads(certificate(self.OP).to_json())["ops"][0]
        assert record["phase_worst_case"] == [100, 16000]
        assert record["phase_least_acc_bits"] == self.OP.phase_least_acc_bits == 15
        assert Certificate.from_json(certificate(self.OP).to_json()) == certificate(self.OP)

    def test_certificates_from_before_have_none(self):
        record = json.loads(certificate(an_op(0)).to_json())
        for key in ("phase_worst_case", "phase_least_acc_bits"):
            assert record["ops"][0].pop(key) is None
        (op,) = Certificate.from_json(json.dumps(record)).ops
        assert op.phase_worst_case is None
        assert op.phase_least_acc_bits is None

    def test_one_for_each_channel(self):
        with pytest.raises(ValueError, match="each of 2 channels, received 1"):
            replace(self.OP, phase_worst_case=(1,))


class TestVerdict:
    def test_all_fit(self):
        assert certificate(*map(an_op, range(9))).verdict == "P = 16 monolithic: all 9 ops"

    def test_one_op(self):
        assert certificate(an_op(0)).verdict == "P = 16 monolithic: all 1 op"

    def test_a_broken_claim_names_layer_channel_value_and_limit(self):
        tile = Partition.of_tile(64)
        ops = [an_op(i, partition=tile) for i in range(8)]
        found = certificate(*ops, an_op(8, partition=tile, **BROKEN))
        assert found.verdict == (
            "P = 16, tile=64: 8 of 9 ops; not conv2d_8 (channel 1 needs 34812, limit 32767)"
        )
        assert not found.ok

    def test_lossless(self):
        ops = [an_op(i, partition=None, worst=(2**20 - 1,), least=21 - i) for i in range(9)]
        found = certificate(*ops)
        assert found.verdict == (
            "lossless: 16-bit with spill schedules, all 9 ops exact; no monolithic claim "
            "(least P = 21)"
        )
        assert found.ok

    def test_groups_and_exclusions_are_all_named(self):
        found = certificate(
            an_op(0),
            an_op(1, acc_bits=14, worst=(8191,)),
            an_op(2, partition=None, least=20),
            an_op(3, partition=None, custom=False, least=22),
            excluded=[FLOAT],
        )
        assert found.verdict == (
            "P = 16 monolithic: 1 of 5 ops; P = 14 monolithic: 1 of 5 ops; "
            "lossless: 16-bit with spill schedules, 1 of 5 ops exact; no monolithic claim "
            "(least P = 20); no claim: 1 built-in int8 op (least P = 22): conv2d_3; "
            "not covered: 1 op: logits (FULLY_CONNECTED: float32 weights)"
        )

    def test_long_lists_are_counted(self):
        ops = [an_op(i, partition=None, custom=False) for i in range(20)]
        assert certificate(*ops).verdict.endswith("conv2d_7 and 12 more")

    def test_nothing_to_certify(self):
        assert certificate().verdict == "no dot-product ops"


class TestBroken:
    def test_the_limit_itself_holds_and_one_more_does_not(self):
        assert certificate(an_op(0, worst=(32767,))).ok
        assert not certificate(an_op(0, worst=(32768,), least=17)).ok

    def test_without_a_claim_nothing_is_broken(self):
        assert certificate(an_op(0, worst=(1 << 20,), partition=None)).ok

    def test_raise_names_all_of_them(self):
        certificate(an_op(0)).raise_if_broken()
        with pytest.raises(BudgetError) as caught:
            certificate(an_op(0), an_op(1, **BROKEN), an_op(2, **BROKEN)).raise_if_broken()
        text = str(caught.value)
        for part in ("conv2d_1 (op 1)", "conv2d_2", "channel 1 needs 34812, limit 32767"):
            assert part in text
        assert "conv2d_0" not in text


class TestJson:
    FULL = certificate(
        an_op(0),
        replace(an_op(1, partition=Partition("lanes", 8), **BROKEN), subgraph=1),
        an_op(2, partition=None),
        excluded=[FLOAT],
    )

    def test_round_trip(self):
        text = self.FULL.to_json()
        assert Certificate.from_json(text) == self.FULL
        assert Certificate.from_json(text).to_json() == text

    def test_readers_without_this_package_find_the_results(self):
        record = json.loads(self.FULL.to_json())
        assert record["format"] == 1
        assert record["ok"] is False
        assert record["verdict"] == self.FULL.verdict
        assert record["ops"][1]["worst_channel"] == 1
        assert [op["fits"] for op in record["ops"]] == [True, False, True]

    def changed(self, **changes):
        return json.dumps({**json.loads(self.FULL.to_json()), **changes})

    def test_another_format_is_refused(self):
        with pytest.raises(InvalidFileError, match="expected format 1, received 2"):
            Certificate.from_json(self.changed(format=2))

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '"format"'])
    def test_not_a_certificate(self, text):
        with pytest.raises(InvalidFileError, match="certificate"):
            Certificate.from_json(text)

    @pytest.mark.parametrize(
        "changes", [{"ops": 3}, {"ops": [{}]}, {"excluded": [{"x": 1}]}, {"ops": [None]}]
    )
    def test_malformed(self, changes):
        with pytest.raises(InvalidFileError, match="malformed"):
            Certificate.from_json(self.changed(**changes))

    def test_a_worst_case_for_each_channel(self):
        record = json.loads(self.FULL.to_json())
        record["ops"][0]["worst_case"] = []
        with pytest.raises(InvalidFileError, match="one worst case for each of 2 channels"):
            Certificate.from_json(json.dumps(record))

    def test_the_verdict_is_recomputed_not_believed(self):
        lied = self.changed(ok=True, verdict="all is well")
        assert not Certificate.from_json(lied).ok


def test_table():
    lines = str(certificate(an_op(0), an_op(1, **BROKEN), excluded=[FLOAT])).splitlines()
    assert " ".join(lines[0].split()) == "op name K claim inputs worst case limit least P tile"
    assert "32767" in lines[1]
    assert "34812 OVERFLOWS" in lines[2]
    assert lines[3] == "9  logits  not covered: FULLY_CONNECTED: float32 weights"
    assert lines[4].startswith("P = 16 monolithic: 1 of 3 ops")


def test_spill_interval():
    assert Spills(12, 3, 0).interval == 4
