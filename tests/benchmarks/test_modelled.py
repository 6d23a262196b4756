"""The models of cycles beside emulated counts: what is read, counted and asked of llvm-mca."""

import os
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("testing an installed package: no benchmarks", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

import modelled  # noqa: E402

LOOP = tuple(f"smlal v{i}.8h, v30.8b, v31.8b" for i in range(8))


@pytest.fixture(autouse=True)
def _llvm():
    try:
        modelled.block_cycles([LOOP], "cortex-a57")
    except modelled.Unavailable as error:
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(str(error))


def test_reads_stretches_of_blocks(tmp_path):
    file = tmp_path / "blocks.txt"
    file.write_text(
        "= 0\n"
        "3 2\nadd x0, x0, #1\nb.ne #0x5500001000\n"
        "4 2\nadd x0, x0, #1\nb.ne #0x5500002000\n"  # the same elsewhere
        "= 1\n"
        "5 1\n.byte 0x10, 0xe0, 0x88, 0x4f\n"  # sdot v16.4s, v0.16b, v8.4b[0]
        "= 2\n"
    )
    first, second, third = modelled.read_blocks(file)
    assert first == {("add x0, x0, #1", "b.ne target"): 7}
    ((sdot,),) = second
    assert sdot.split() == ["sdot", "v16.4s,", "v0.16b,", "v8.4b[0]"]
    assert second[(sdot,)] == 5
    assert modelled.macs_of((sdot,)) == 16
    assert not third


def test_keeps_constants_that_are_no_addresses(tmp_path):
    file = tmp_path / "blocks.txt"
    file.write_text("= 0\n1 2\nand x2, x2, #0xfffffffffffffff0\nadrp x0, #0x5500001000\n")
    (runs,) = modelled.read_blocks(file)
    assert list(runs) == [("and x2, x2, #0xfffffffffffffff0", "adrp x0, target")]


def test_counts_products():
    assert modelled.macs_of(LOOP) == 64
    assert modelled.macs_of(("smlal2 v0.4s, v1.8h, v2.h[3]", "mla v0.16b, v1.16b, v2.16b")) == 20
    assert modelled.macs_of(("smlal v0.2d, v1.2s, v2.2s", "fmul v0.4s, v1.4s, v2.4s")) == 0


def test_models_what_a_multiplier_can_do():
    cycles = modelled.block_cycles([LOOP, LOOP[:4]], "cortex-a57")
    # One multiplication in a cycle; four sums wait for themselves no less than that.
    assert cycles[LOOP] == pytest.approx(8, rel=0.1)
    assert 4 <= cycles[LOOP[:4]] <= 8


def test_scales_blocks_by_their_runs():
    other = ("add x0, x0, #1",) * 4
    runs = modelled.Runs({LOOP: 1000, other: 10})
    whole = modelled.model(runs, "cortex-a57")
    assert whole.inner_macs == 64 * 1000
    assert whole.inner_cycles == pytest.approx(8000, rel=0.1)
    assert whole.cycles >= whole.inner_cycles
