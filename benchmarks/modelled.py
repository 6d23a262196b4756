"""Cycles of instructions that ran, by LLVM's models of cores (llvm-mca).

A model, not a measurement: each block of instructions as if it ran over and over with everything
in the first-level cache. Of in-order cores it charges for addresses that loads update, and lets no
instruction finish before an earlier one.
"""

import collections
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

# LLVM's models; those of other cores are one of these. Cortex-A72 goes by A57's, A76 by Neoverse
# N1's, which has the same pipelines.
MODELS = ("cortex-a53", "cortex-a55", "cortex-a57", "neoverse-n1")
MODEL_OF = {
    "cortex-a53": "cortex-a53",
    "cortex-a72": "cortex-a57",
    "cortex-a76": "neoverse-n1",
    "neoverse-v1": "neoverse-v1",
}
_FEATURES = "+dotprod,+i8mm,+fullfp16,+lse,+rcpc"
_ITERATIONS = 100
# Multiply-accumulates of an instruction, by mnemonic and the arrangement of its result.
_MACS = {
    ("smlal", "8h"): 8, ("smlal2", "8h"): 8, ("smull", "8h"): 8, ("smull2", "8h"): 8,
    ("smlal", "4s"): 4, ("smlal2", "4s"): 4, ("smull", "4s"): 4, ("smull2", "4s"): 4,
    ("mla", "16b"): 16, ("mul", "16b"): 16, ("sdot", "4s"): 16, ("smmla", "4s"): 32,
}  # fmt: skip

_NAMES_AN_ADDRESS = re.compile(r"(b|bl|b\.\w+|cbn?z|tbn?z|adrp?|ldr\w* \w+, #0x)\b")

Block = tuple[str, ...]
Runs = collections.Counter[Block]  # how often each ran


class Unavailable(RuntimeError):
    """There is no llvm-mca; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class Modelled:
    """What a model says of blocks that ran.

    Attributes:
        cycles: Of all that ran.
        inner_cycles: Of the blocks that multiply int8 for the most part: the inner loops.
        inner_macs: Multiply-accumulates of those blocks.
    """

    cycles: float
    inner_cycles: float
    inner_macs: int


def read_blocks(path: Path) -> list[Runs]:
    """How often each block ran in each stretch of a file that count_instructions.c wrote."""
    stretches: list[Runs] = []
    lines = list(map(str.strip, path.read_text().splitlines()))
    known = _decoded({line for line in lines if line.startswith(".byte")})
    at = 0
    while at < len(lines):
        if lines[at].startswith("="):
            stretches.append(collections.Counter())
            at += 1
            continue
        count, length = map(int, lines[at].split())
        block = (known.get(line, line) for line in lines[at + 1 : at + 1 + length])
        stretches[-1][tuple(map(_relocated, block))] += count
        at += 1 + length
    return stretches


def _decoded(instructions: set[str]) -> dict[str, str]:
    """Those that the emulator only knows as bytes, newer ones like SDOT, in words."""
    texts = sorted(instructions)
    hexadecimal = "\n".join(text.removeprefix(".byte").replace(",", " ") for text in texts)
    command = [_program("llvm-mc"), "--disassemble", "-triple=aarch64", f"-mattr={_FEATURES}"]
    done = subprocess.run(command, input=hexadecimal, text=True, capture_output=True, check=False)
    words = [line.strip() for line in done.stdout.splitlines() if line.startswith("\t")]
    words = [word for word in words if not word.startswith(".")]  # sections
    if done.returncode or len(words) != len(texts):
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return {text: word.replace("\t", " ") for text, word in zip(texts, words, strict=True)}


def _relocated(instruction: str) -> str:
    """Without the address that a branch goes to, which differs from process to process."""
    if not _NAMES_AN_ADDRESS.match(instruction):
        return instruction
    return re.sub(r"#?0x[0-9a-f]+$", "target", instruction)


def macs_of(block: Block) -> int:
    """The int8 multiply-accumulates of a block."""
    total = 0
    for instruction in block:
        name, _, operands = instruction.partition(" ")
        arrangement = operands.partition(",")[0].rpartition(".")[2]
        total += _MACS.get((name, arrangement), 0)
    return total


def model(runs: Runs, core: str, coverage: float = 0.995) -> Modelled:
    """The cycles of blocks that ran so often.

    Args:
        runs: By block; those that make up `coverage` of the instructions are modelled, and the rest
            as if it took as long.
        core: One that llvm-mca knows.
        coverage: The share of the instructions, up to 1.
    """
    instructions = sum(len(block) * count for block, count in runs.items())
    chosen, sum_ = [], 0.0
    for block in sorted(runs, key=lambda block: -len(block) * runs[block]):
        if sum_ >= coverage * instructions:
            break
        chosen.append(block)
        sum_ += len(block) * runs[block]
    each = block_cycles(chosen, core)
    cycles = sum(each[block] * runs[block] for block in chosen) * instructions / max(sum_, 1)
    inner = [block for block in chosen if macs_of(block) >= 2 * len(block)]
    return Modelled(
        cycles,
        sum(each[block] * runs[block] for block in inner),
        round(sum(macs_of(block) * runs[block] for block in inner)),
    )


def block_cycles(blocks: Iterable[Block], core: str) -> dict[Block, float]:
    """The cycles of one run of each block, of many in a row."""
    blocks = list(blocks)
    text = ["target:"]
    for i, block in enumerate(blocks):
        text += [f"/* LLVM-MCA-BEGIN {i} */", *block, f"/* LLVM-MCA-END {i} */"]
    command = [_program("llvm-mca"), "-mtriple=aarch64", f"-mcpu={core}", f"-mattr={_FEATURES}"]
    # A call as a branch: what is called is counted itself.
    command += [f"-iterations={_ITERATIONS}", "-call-latency=1"]
    command.append("-skip-unsupported-instructions=lack-sched")  # atomic ones, on some cores
    done = subprocess.run(
        [*command, "-"], input="\n".join(text) + "\n", text=True, capture_output=True, check=False
    )
    found = re.findall(r"^Total Cycles:\s+(\d+)", done.stdout, re.MULTILINE)
    if done.returncode or len(found) != len(blocks):
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return {block: int(n) / _ITERATIONS for block, n in zip(blocks, found, strict=True)}


def _program(name: str) -> str:
    """LLVM's program of that name, the newest; those before 19 lack an option."""
    names = (f"{name}-{version}" for version in range(30, 18, -1))
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise Unavailable(f"not on PATH: {name} (Debian's llvm-19)")
    return program
