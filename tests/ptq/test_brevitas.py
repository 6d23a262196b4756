"""Errors against what the AXE of Brevitas's examples made of the same layer.

The arrays come from `python benchmarks/peers/axe.py --write tests/data/axe_brevitas.npz`.
"""

from pathlib import Path

import numpy as np
import pytest

from keras_accq.ptq.gram import Gram
from keras_accq.ptq.layer import solve
from keras_accq.quantizers.axe import AXE
from keras_accq.quantizers.operands import Operands

_STORED = Path(__file__).parent.parent / "data" / "axe_brevitas.npz"


@pytest.fixture(scope="module")
def stored():
    with np.load(_STORED) as arrays:
        return dict(arrays)


def _cases():
    with np.load(_STORED) as arrays:
        return sorted(name[2:] for name in arrays.files if name.startswith("q/"))


@pytest.mark.parametrize("case", _cases())
def test_errors_are_not_above_brevitas(stored, case):
    algorithm, tile, input_bits, weight_bits = case.split("/")
    floats, weights = stored["inputs"].astype(np.float64), stored["weights"].astype(np.float64).T
    quantized = stored[f"inputs/{input_bits}"] * stored[f"step/{input_bits}"]
    scales = stored[f"scales/{weight_bits}"]
    outputs = floats @ weights
    # The OPTQ of Brevitas knows the quantized inputs only.
    published = {
        "algorithm": algorithm,
        "scale_search": False,
        "sweeps": 0,
        "compensate": "all" if algorithm == "gpfq" else "none",
    }

    def error(integers, scales):
        return np.linalg.norm(outputs - quantized @ (integers * scales)) / np.linalg.norm(outputs)

    def ours(acc_bits, **options):
        operands = Operands(acc_bits, int(input_bits), int(weight_bits), int(tile) or None)
        gram = Gram(weights[None], cross=True)
        gram.add(quantized[None], floats[None])
        method = AXE(**{**published, **options})
        found = solve(weights[None], scales[None], gram.moments(), operands, method)
        return error(found.q[0], found.scales[0])

    theirs = error(stored[f"q/{case}"].astype(np.float64).T, scales)
    plain = ours(16)
    assert plain <= 1.02 * theirs
    if plain > 1.1 * ours(32):
        assert ours(16, scale_search=True) < 0.9 * theirs
