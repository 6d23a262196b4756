"""A2Q and A2Q+ against Brevitas, their authors' library: bounds, and integers from equal weights.

    pip install -e '.[peers]'
    KERAS_BACKEND=torch python benchmarks/peers/a2q.py [--write tests/data/a2q_brevitas.npz]

Both libraries quantize the same weights, scales and norms. In float64 their integers must be the
same. In float32 they may differ by 1 where a weight lies within 1e-4 of an integer, on at most one
weight in a thousand, as sums round differently. Exits with 1 on any other difference. What
`--write` stores is compared by the tests, which need no torch.
"""

import argparse
import itertools
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import brevitas.nn
import keras
import numpy as np
import torch
from brevitas.function.ops import get_upper_bound_on_l1_norm
from brevitas.quant import (
    Int8AccumulatorAwareWeightQuant,
    Int8AccumulatorAwareZeroCenterWeightQuant,
)

from keras_accq.quantizers import methods
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import half_radius, l1_radius

# Our method, Brevitas's quantizer, and whether it is told that inputs are signed.
PAIRS = {
    "a2q": (Int8AccumulatorAwareWeightQuant, True),
    "a2q_unsigned": (Int8AccumulatorAwareWeightQuant, False),
    "a2q+": (Int8AccumulatorAwareZeroCenterWeightQuant, True),
}
WIDTHS = [(16, 8, 8), (16, 4, 8), (12, 4, 5), (20, 8, 6)]  # P, N, M
SHAPES = {"conv": (72, 4), "dense": (200, 3), "large": (4608, 64)}  # K, channels
STORED = ("conv", "dense")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="a .npz file for the tests")
    arguments = parser.parse_args()
    wrong = compare_bounds()
    arrays: dict[str, np.ndarray] = {}
    for shape, (k, channels) in SHAPES.items():
        weights, scales, norms = parameters(k, channels)
        arrays |= {f"{shape}/v": weights, f"{shape}/s": scales, f"{shape}/g": norms}
    for name, shape, widths in itertools.product(PAIRS, SHAPES, WIDTHS):
        given = tuple(arrays[f"{shape}/{part}"] for part in "vsg")
        for dtype in ("float64", "float32"):
            theirs, units = brevitas_integers(name, given, widths, dtype)
            ours = our_integers(name, given, widths, dtype)
            wrong += not report(f"{name} {shape} {widths} {dtype}", ours, theirs, units)
            if dtype == "float64":
                key = f"{name}/{shape}/" + ",".join(map(str, widths))
                arrays[key] = theirs.astype(np.int8)
    if arguments.write:
        arrays = {key: array for key, array in arrays.items() if set(key.split("/")) & set(STORED)}
        np.savez_compressed(arguments.write, **arrays)
        print(f"wrote {arguments.write}: {arguments.write.stat().st_size} bytes")
    print("all agree" if not wrong else f"{wrong} disagree")
    return int(bool(wrong))


def parameters(k: int, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """v [K, channels], log2 s and log2 g [channels]: norms below, near and beyond the limits."""
    rng = np.random.default_rng(k)
    # Heavy tails, or all of a long channel would round to zero.
    v = rng.normal(size=(k, channels)) ** 3 + rng.normal(size=channels) / 4
    log2_scale = rng.uniform(-7, -4, channels)
    log2_norm = log2_scale + np.linspace(4, 12, channels)
    return tuple(array.astype(np.float32) for array in (v, log2_scale, log2_norm))


def compare_bounds() -> int:
    """Radii for all widths; how many differ."""
    wrong = 0
    for acc_bits, input_bits in itertools.product(range(9, 33), range(2, 9)):
        p, n = (torch.tensor(float(bits), dtype=torch.float64) for bits in (acc_bits, input_bits))
        signed, unsigned = (float(get_upper_bound_on_l1_norm(p, n, sign)) for sign in (True, False))
        ours = l1_radius(acc_bits, input_bits)
        wrong += (ours, ours / 2) != (signed, unsigned)
        module = tensor_quantizer("a2q+", (20, 1), acc_bits).double().pre_scaling_impl
        centred = float(module.calc_max_l1_norm(n, True))
        wrong += not np.isclose(2 * half_radius(acc_bits, input_bits), centred, rtol=1e-15)
    print(f"bounds for P = 9..32 and N = 2..8: {'equal' if not wrong else f'{wrong} differ'}")
    return wrong


def tensor_quantizer(name: str, shape: tuple[int, int], acc_bits: int, weight_bits: int = 8):
    """Brevitas's quantizer of a linear layer's weights."""
    layer = brevitas.nn.QuantLinear(
        *shape,
        bias=False,
        weight_quant=PAIRS[name][0],
        weight_bit_width=weight_bits,
        weight_accumulator_bit_width=acc_bits,
    )
    return layer.weight_quant.tensor_quant


def brevitas_integers(
    name: str, given: tuple[np.ndarray, ...], widths: tuple[int, int, int], dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """Brevitas's integers [K, channels], and what it rounded toward zero."""
    acc_bits, input_bits, weight_bits = widths
    v, log2_scale, log2_norm = (torch.tensor(array.astype(dtype)) for array in given)
    quantizer = tensor_quantizer(name, v.shape, acc_bits, weight_bits).to(v.dtype)
    with torch.no_grad():
        set_scale(quantizer.scaling_impl, log2_scale)
        set_scale(quantizer.pre_scaling_impl.scaling_impl, log2_scale)
        quantizer.pre_scaling_impl.value.copy_(log2_norm[:, None])
        x, n = v.T.contiguous(), torch.tensor(float(input_bits), dtype=v.dtype)
        y, scale, _, _, pre_scale, pre_zero = quantizer(x, n, PAIRS[name][1])
        np.testing.assert_allclose(scale[:, 0], torch.exp2(log2_scale), rtol=1e-6)
        units = x / pre_scale + pre_zero
    return np.rint((y / scale).numpy()).T, units.numpy().T


def set_scale(module: torch.nn.Module, log2_scale: torch.Tensor) -> None:
    """Sets a learned scale, which Brevitas keeps as its logarithm for some quantizers."""
    module.value.copy_(log2_scale[:, None])
    if not np.isclose(float(module(module.value)[0]), float(torch.exp2(log2_scale[0])), rtol=1e-5):
        module.value.copy_(torch.exp2(log2_scale)[:, None])


def our_integers(
    name: str, given: tuple[np.ndarray, ...], widths: tuple[int, int, int], dtype: str
) -> np.ndarray:
    """keras_accq's integers [K, channels]."""
    acc_bits, input_bits, weight_bits = widths
    v, log2_scale, log2_norm = (
        keras.ops.convert_to_tensor(array.astype(dtype), dtype=dtype) for array in given
    )
    q, _ = methods.get(name).quantize(
        v,
        {"log2_scale": log2_scale, "log2_norm": log2_norm},
        Operands(acc_bits, input_bits, weight_bits),
    )
    assert keras.backend.standardize_dtype(q.dtype) == dtype
    return keras.ops.convert_to_numpy(q)


def report(title: str, ours: np.ndarray, theirs: np.ndarray, units: np.ndarray) -> bool:
    """Prints what differs; whether that is allowed."""
    differ = ours != theirs
    step = float(np.abs(ours - theirs).max())
    distance = np.abs(units - np.rint(units))[differ].max(initial=0)
    if "float64" in title:
        good = not differ.any()
    else:
        good = differ.mean() <= 1e-3 and step <= 1 and distance < 1e-4
    print(
        f"{title}: {differ.sum()} of {differ.size} differ, by {step:g} at most"
        + (f", within {distance:.1e} of an integer" if differ.any() else "")
        + f"; |q| up to {np.abs(theirs).max():g}, norms to {np.abs(theirs).sum(axis=0).max():g}"
        + ("" if good else "  WRONG")
    )
    return good


if __name__ == "__main__":
    sys.exit(main())
