"""Would sums in 8 bits pay on 64-bit ARM, for operands of 4 bits?

    python benchmarks/eight_bit.py [--k 864] [--channels 64]

MLA on byte lanes multiplies and adds 16 products at once, twice as many as SMLAL, but a byte lane
fills after few of them: then SADALP adds it to 16-bit lanes. This takes random weights of 4 bits
that fit a 16-bit accumulator, finds how many steps of 16 bytes go into byte lanes between spills,
in file order and exactly, writes the inner loop that such a kernel would have, and counts its
instructions and its cycles by llvm-mca, beside the loop that neon_dot8 has for these weights: one
segment, sums of 6 pixels by 4 channels. There is no such kernel; nothing here was run.
"""

import argparse

import modelled
import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import budget
from keras_accq.quantizers.projection import project_l1

_OPERANDS = (-8, 7)
_GREATEST_WEIGHT = 7
_STEP = 16  # bytes
_CHANNELS = 4  # of a block, which spills together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--k", type=int, default=864, help="products of an output")
    parser.add_argument("--channels", type=int, default=64)
    arguments = parser.parse_args()
    q = _weights(arguments.channels, arguments.k)
    lengths = [n for block in np.split(q, len(q) // _CHANNELS) for n in segments(block)]
    mean = float(np.mean(lengths))
    print(
        f"K = {arguments.k}, N = M = 4: mean |q| {np.abs(q).mean():.2f}; "
        f"{mean:.2f} steps between spills of byte lanes"
    )
    length = max(1, round(mean))
    loops = {"8-bit sums, 3x4": _byte_loop(length), "neon_dot8, 6x4": _word_loop()}
    print("modelled, inner loops only:")
    for name, loop in loops.items():
        macs = modelled.macs_of(loop)
        cells = [f"{name}: {len(loop) / macs:.3f} instructions per MAC"]
        for core in modelled.MODELS:
            cycles = modelled.block_cycles([loop], core)[loop]
            cells.append(f"{core} {macs / cycles:.1f} MAC/cycle")
        print("  " + ", ".join(cells))


def _weights(channels: int, k: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((channels, k))
    w *= _GREATEST_WEIGHT / np.abs(w).max(axis=1, keepdims=True)
    q = np.trunc(project_l1(w, budget(16, *_OPERANDS))).astype(np.int64)
    return np.pad(q, ((0, 0), (0, -k % _STEP)))


def segments(q: NDArray[np.int64]) -> list[int]:
    """The steps of a block's segments: of each as many as fit 8 bits in all byte lanes."""
    low, high = _OPERANDS
    steps = q.reshape(len(q), -1, _STEP)
    up = np.where(steps > 0, high * steps, low * steps)  # the greatest and least of each product
    down = np.where(steps > 0, low * steps, high * steps)
    lengths: list[int] = []
    most = least = np.zeros(0)
    for s in range(steps.shape[1]):
        if lengths:
            most, least = most + up[:, s], least + down[:, s]
        if not lengths or most.max() > 127 or least.min() < -127:
            lengths.append(0)
            most, least = up[:, s], down[:, s]
        lengths[-1] += 1
    return lengths


def _byte_loop(length: int) -> modelled.Block:
    """A segment of 3 pixels by 4 channels: int8 sums in v8-v19, int16 sums in v20-v31."""
    lines: list[str] = []
    for step in range(length):
        name = "mul" if step == 0 else "mla"
        half = f"ldp q2, q3, [x4, #{64 * step + 32}]"
        following = f"ldp q0, q1, [x4, #{64 * step + 64}]"
        loads = {1: half, 3: f"ldrsw x6, [x5, #{4 * step + 4}]", 5: following}
        loads |= {8: "ldr q4, [x0, x6]", 10: "ldr q5, [x1, x6]", 11: "ldr q6, [x2, x6]"}
        order = [(p, c) for pair in ((0, 1), (2, 3)) for p in range(3) for c in pair]
        for i, (p, c) in enumerate(order):
            lines.append(f"{name} v{8 + 4 * p + c}.16b, v{4 + p}.16b, v{c}.16b")
            lines += [loads[i]] if i in loads else []
    lines += [f"sadalp v{20 + i}.8h, v{8 + i}.16b" for i in range(12)]
    lines += [f"add x4, x4, #{64 * length}", f"add x5, x5, #{4 * length}"]
    return (*lines, "subs x7, x7, #1", "b.ne target")


def _word_loop() -> modelled.Block:
    """The instructions of neon_dot8's longest loop (aarch64/dot8_tile.cc), two steps of it."""
    lines: list[str] = []
    for step, (first, second) in enumerate(((4, 6), (6, 4))):
        x = [4 + (first - 4 + p) % 4 for p in range(6)]
        blocks = [(ps, cs) for ps in ((0, 1, 2), (3, 4, 5)) for cs in ((0, 1), (2, 3))]
        offset, following = ("x9", "x10") if step == 0 else ("x10", "x9")
        loads = {
            1: f"ldp q2, q3, [x5, #{64 * step + 32}]", 7: f"ldr q{x[3]}, [x13, {offset}]",
            19: f"ldr q{x[4]}, [x14, {offset}]", 21: f"ldr q{x[5]}, [x15, {offset}]",
            25: f"ldrsw {following}, [x6, #{4 * step}]", 31: f"ldr q{second}, [x0, {following}]",
            35: f"ldp q0, q1, [x5, #{64 * step + 64}]",
            43: f"ldr q{4 + (second - 3) % 4}, [x1, {following}]",
            45: f"ldr q{4 + (second - 2) % 4}, [x2, {following}]",
        }  # fmt: skip
        count = 0
        for pixels, channels in blocks:
            for name, half in (("smlal", "8b"), ("smlal2", "16b")):
                for p in pixels:
                    for c in channels:
                        lines.append(f"{name} v{8 + 4 * p + c}.8h, v{x[p]}.{half}, v{c}.{half}")
                        lines += [loads[count]] if count in loads else []
                        count += 1
    return (*lines, "add x5, x5, #128", "adds x6, x6, #8", "b.ne target")


if __name__ == "__main__":
    main()
