"""One-convolution models to measure with, of any size."""

import sys
from pathlib import Path

import numpy as np

from keras_accq.bounds import Partition, budget, fits
from keras_accq.quantizers.projection import project_l1

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import tflite_models


def convolution(size: str, *, constrained: bool, acc_bits: int = 16, seed: int = 0) -> bytes:
    """An int8 CONV_2D, SAME, with random normal weights.

    Args:
        size: Kernel height and width, input and output channels, input height and width, as in
            "3x3x96x96x32x32".
        constrained: Weights whose dot products fit `acc_bits` in one accumulator: projected on
            the budget's L1 ball and rounded toward zero, as A2Q does. Otherwise the largest
            weight of each channel is 127.
        acc_bits: Bits of that accumulator.
        seed: Of the random numbers.
    """
    kernel_h, kernel_w, cin, cout, height, width = map(int, size.split("x"))
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((cout, kernel_h * kernel_w * cin))
    weights *= 127 / np.abs(weights).max(axis=1, keepdims=True)
    if constrained:
        weights = project_l1(weights, budget(acc_bits, -128, 127))
    q = np.trunc(weights).astype(np.int8)
    if constrained:
        assert fits(q, -128, 127, acc_bits, Partition.of_tile(None)).all()
    return tflite_models.conv2d(
        q.reshape(cout, kernel_h, kernel_w, cin),
        (1, height, width, cin),
        bias=rng.integers(-1000, 1000, cout),
        weight_scale=rng.uniform(0.005, 0.02, cout),
        # Puts most outputs inside the int8 range.
        output_scale=float(0.05 * 0.02 * 74 * np.linalg.norm(q.astype(float), axis=1).max() / 64),
    )
