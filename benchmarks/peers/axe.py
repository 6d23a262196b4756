"""AXE here against the AXE of Brevitas's own examples: output errors, time and memory.

    pip install -e '.[peers]'
    python benchmarks/peers/axe.py [--write tests/data/axe_brevitas.npz]
    python benchmarks/peers/axe.py --cost     # 512 x 4608 weights, 1,024 vectors

Both sides get the same layer (a dense one, its inputs and weights from a fixed seed), the same
quantized inputs, the same weight scales and the same budget: Brevitas quantizes inputs and chooses
the scales (the largest weight becomes the largest integer), and ours takes both. An error is
the root of the error's energy by the output's, over all channels.

The exit status is 1 unless, for every layer, the package's solver on the same scales is within 2 %
of Brevitas's, all options together are better than it, and with a budget that is felt (it costs the
solver over a tenth) the search for scales alone leaves less than 0.9 of Brevitas's error. With
--cost it is 1 if the solver takes longer than Brevitas's.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import Partition, fits, operand_range

ACC_BITS = 16
SAME, CLEARLY_BELOW, FELT = 1.02, 0.9, 1.1
TILES = (None, 64)
WIDTHS = ((8, 8), (8, 6), (7, 6), (6, 6), (5, 5), (4, 8))
SIZES = (64, 256, 576)
ALGORITHMS = ("optq", "gpfq")
CHANNELS, VECTORS = 32, 1024
# What the tests compare with.
STORED = {"k": 80, "channels": 8, "vectors": 128}
COST = {"k": 4608, "channels": 512, "vectors": 1024, "input_bits": 8, "weight_bits": 8}


@dataclass(frozen=True)
class Case:
    """One layer and how it is to be quantized."""

    k: int
    tile: int | None
    input_bits: int
    weight_bits: int
    algorithm: str
    channels: int = CHANNELS
    vectors: int = VECTORS

    def data(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Correlated inputs [vectors, K], and weights [channels, K]."""
        rng = np.random.default_rng(self.k)
        shared = rng.standard_normal((self.vectors, self.k // 8))
        mixed = shared @ rng.standard_normal((self.k // 8, self.k)) / np.sqrt(self.k // 8)
        inputs = mixed + 0.7 * rng.standard_normal((self.vectors, self.k))
        weights = rng.standard_normal((self.channels, self.k)) / np.sqrt(self.k)
        return inputs.astype(np.float32), weights.astype(np.float32)


@dataclass(frozen=True)
class Peer:
    """What Brevitas made of a case."""

    quantized: NDArray[np.float64]
    scales: NDArray[np.float64]
    weights: NDArray[np.float64]
    seconds: float


def brevitas(case: Case) -> Peer:
    """Runs A2GPTQ or A2GPFQ of `brevitas_examples.common.axe`."""
    import torch
    from brevitas.graph.calibrate import calibration_mode
    from brevitas.nn import QuantLinear
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat
    from brevitas_examples.common.axe import a2gpfq_mode, a2gptq_mode

    inputs, weights = (torch.tensor(array) for array in case.data())
    layer = QuantLinear(
        case.k,
        case.channels,
        bias=False,
        weight_quant=Int8WeightPerChannelFloat,
        weight_bit_width=case.weight_bits,
        # Scales must not move with the weights: the accumulators' limits are in their units.
        weight_scaling_impl_type="parameter_from_stats",
        input_quant=Int8ActPerTensorFloat,
        input_bit_width=case.input_bits,
    )
    layer.weight.data.copy_(weights)
    model = torch.nn.Sequential(layer).eval()
    mode = {"optq": a2gptq_mode, "gpfq": a2gpfq_mode}[case.algorithm]
    with torch.no_grad():
        with calibration_mode(model):
            model(inputs)
        scales = layer.quant_weight().scale.reshape(-1).double().numpy()
        quantized = layer.input_quant(inputs).value.double().numpy()
        start = _cpu_seconds()
        with mode(
            model,
            act_order=True,
            max_accumulator_bit_width=ACC_BITS,
            max_accumulator_tile_size=case.tile,
        ) as run:
            for _ in range(run.num_layers):
                for batch in inputs.split(256):
                    run.model(batch)
                run.update()
        seconds = _cpu_seconds() - start
        found = layer.quant_weight().value.double().numpy()
    return Peer(quantized, scales, found, seconds)


def ours(
    case: Case, peer: Peer, acc_bits: int = ACC_BITS, **options: Any
) -> tuple[NDArray[np.float64], float]:
    """Integer weights times scales, [channels, K], and the CPU time that they took."""
    from keras_accq import AXE
    from keras_accq.ptq.gram import Gram
    from keras_accq.ptq.layer import solve
    from keras_accq.quantizers.operands import Operands

    floats, weights = (array.astype(np.float64) for array in case.data())
    method = AXE(algorithm=case.algorithm, **options)
    operands = Operands(acc_bits, case.input_bits, case.weight_bits, case.tile)
    start = _cpu_seconds()
    gram = Gram(weights.T[None], cross=case.algorithm == "gpfq")
    for first in range(0, case.vectors, 256):
        batch = slice(first, first + 256)
        gram.add(peer.quantized[None, batch], floats[None, batch])
    solution = solve(weights.T[None], peer.scales[None], gram.moments(), operands, method)
    seconds = _cpu_seconds() - start
    q = solution.q[0].T.astype(np.int64)
    assert fits(q, *operand_range(case.input_bits), acc_bits, Partition.of_tile(case.tile)).all()
    return q * solution.scales[0][:, None], seconds


def error(case: Case, peer: Peer, weights: NDArray[np.float64]) -> float:
    """Relative error of the layer's outputs."""
    floats, wanted = (array.astype(np.float64) for array in case.data())
    outputs = floats @ wanted.T
    difference = outputs - peer.quantized @ weights.T
    return float(np.linalg.norm(difference) / np.linalg.norm(outputs))


def published(case: Case) -> dict[str, Any]:
    """Options of what Brevitas does too: its OPTQ knows the quantized inputs only."""
    compensate = "all" if case.algorithm == "gpfq" else "none"
    return {"scale_search": False, "sweeps": 0, "compensate": compensate}


def compare(cases: list[Case], peers: dict[Case, Peer]) -> bool:
    """Prints the table of errors and keeps Brevitas's results; whether the claims hold."""
    print(
        "K     tile  N  M  solver  Brevitas  ours            scales searched  all options    budget"
    )
    good = True
    for case in cases:
        peer = peers[case] = brevitas(case)
        theirs = error(case, peer, peer.weights)
        plain, searched, best, unconstrained = (
            error(case, peer, ours(case, peer, **options)[0])
            for options in (
                published(case),
                {**published(case), "scale_search": True},
                {"compensate": "all"},
                {**published(case), "acc_bits": 32},
            )
        )
        felt = plain > FELT * unconstrained
        holds = plain <= SAME * theirs and best < theirs
        if felt:
            holds &= searched < CLEARLY_BELOW * theirs
        good &= holds
        print(
            f"{case.k:<6}{case.tile or '-':<6}{case.input_bits}  {case.weight_bits}  "
            f"{case.algorithm:<8}{theirs:<10.4f}{plain:<8.4f}{plain / theirs:<8.3f}"
            f"{searched:<8.4f}{searched / theirs:<9.3f}{best:<8.4f}{best / theirs:<7.3f}"
            f"{'felt' if felt else 'ample'}{'' if holds else '  <- NOT AS CLAIMED'}",
            flush=True,
        )
    return good


def all_cases(sizes: dict[str, int]) -> list[Case]:
    """Every tile, pair of widths and solver for a size of layer."""
    return [
        Case(tile=tile, input_bits=n, weight_bits=m, algorithm=algorithm, **sizes)
        for tile, (n, m), algorithm in itertools.product(TILES, WIDTHS, ALGORITHMS)
        if tile is None or tile < sizes["k"]
    ]


def write(path: Path, peers: dict[Case, Peer]) -> None:
    """Brevitas's results for one size of layer, for the tests."""
    inputs, weights = next(iter(peers)).data()
    arrays: dict[str, NDArray[Any]] = {"inputs": inputs, "weights": weights}
    for case, peer in peers.items():
        n, m = case.input_bits, case.weight_bits
        step = np.abs(peer.quantized[peer.quantized != 0]).min()
        arrays[f"inputs/{n}"] = np.rint(peer.quantized / step).astype(np.int8)
        arrays[f"step/{n}"] = np.float64(step)
        arrays[f"scales/{m}"] = peer.scales
        q = np.rint(peer.weights / peer.scales[:, None]).astype(np.int8)
        arrays[f"q/{case.algorithm}/{case.tile or 0}/{n}/{m}"] = q
    np.savez_compressed(path, **arrays)


def cost() -> bool:
    """Prints time and memory for a large layer, each side in a process of its own."""
    print("solver  side             CPU s   peak MB  (of which arrays of the case: 19 + 9)")
    good = True
    for algorithm in ALGORITHMS:
        seconds = {}
        for side in ("brevitas", "ours", "ours, searched"):
            command = [sys.executable, __file__, "--one", side, algorithm]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            seconds[side] = found["seconds"]
            print(
                f"{algorithm:<8}{side:<17}{found['seconds']:<8.1f}{found['peak_mb']:.0f}",
                flush=True,
            )
        good &= seconds["ours"] <= seconds["brevitas"]
    return good


def one(side: str, algorithm: str) -> None:
    """One side of `cost`, in this process."""
    case = Case(tile=None, algorithm=algorithm, **COST)
    if side == "brevitas":
        before = _peak_mb()
        seconds = brevitas(case).seconds
    else:
        inputs, weights = (array.astype(np.float64) for array in case.data())
        step = np.abs(inputs).max() / operand_range(case.input_bits)[1]
        scales = np.abs(weights).max(axis=1) / operand_range(case.weight_bits)[1]
        peer = Peer(np.rint(inputs / step) * step, scales, weights, 0.0)
        import keras_accq.ptq.layer  # noqa: F401 - loading Keras is not measured

        before = _peak_mb()
        _, seconds = ours(case, peer, **(published(case) if side == "ours" else {}))
    print(json.dumps({"seconds": seconds, "peak_mb": _peak_mb() - before}))


def _cpu_seconds() -> float:
    """Of all threads: on a busy machine, waiting is not what is measured."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cost", action="store_true", help="measure time and memory")
    parser.add_argument("--write", type=Path, help="a .npz file for the tests, of a small layer")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(*arguments.one)
        return 0
    if arguments.cost:
        return 0 if cost() else 1
    peers: dict[Case, Peer] = {}
    sizes = [STORED] if arguments.write else [{"k": k} for k in SIZES]
    good = compare([case for size in sizes for case in all_cases(size)], peers)
    if arguments.write:
        write(arguments.write, peers)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
