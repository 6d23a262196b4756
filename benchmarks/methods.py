"""What each method leaves of a layer's weights before any training, as the fill rule estimates it.

    python benchmarks/methods.py [--products 576] [--bits 16 14 12]

Normal weights, half-normal inputs; the relative output error of quantized weights and inputs at the
widths that are best for the method, and the fraction of weights that are zero.
"""

import argparse
import sys
import warnings

import numpy as np

from keras_accq.bounds import ALL
from keras_accq.errors import BudgetError
from keras_accq.fill import LayerStats, choose
from keras_accq.quantizers import methods

NAMES = ("type_bound", "a2q_unsigned", "a2q", "a2q+", "round")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=int, default=576, help="K (576)")
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 14, 12], help="P (16 14 12)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    weights = np.random.default_rng(0).normal(size=(64, arguments.products))
    print("| method | " + " | ".join(f"P = {bits}" for bits in arguments.bits) + " |")
    print("|---|" + "---|" * len(arguments.bits))
    for name in NAMES:
        cells = [cell(weights, bits, name) for bits in arguments.bits]
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    return 0


def cell(weights: np.ndarray, acc_bits: int, name: str) -> str:
    """One method at one width."""
    layer = LayerStats("layer", weights, acc_bits, ALL, rounding=methods.get(name).rounding())
    try:
        choice = choose([layer])
    except BudgetError:
        return "no widths fit"
    chosen = choice.layers[0]
    return (
        f"{chosen.error:.3f}, {chosen.zeros:.0%} zeros (N = {choice.input_bits}, "
        f"M = {chosen.weight_bits})"
    )


if __name__ == "__main__":
    sys.exit(main())
