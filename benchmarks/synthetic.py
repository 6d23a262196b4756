"""One-layer models to measure with: of any size, or with the shapes of known networks."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keras_accq.bounds import Partition, budget, fits
from keras_accq.quantizers.projection import project_l1

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import tflite_models

_FOUR_BITS = -8, 7
NETWORKS = Path(__file__).with_name("networks.txt")


@dataclass(frozen=True)
class Shape:
    """A layer's shape; `kind` is conv, depthwise or dense, `times` how many a network has."""

    kind: str
    height: int
    width: int
    cin: int
    cout: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: str = "SAME"
    groups: int = 1
    times: int = 1

    def __str__(self) -> str:
        kernel = "x".join(map(str, self.kernel)) + (f"/{self.stride}" if self.stride > 1 else "")
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        return f"{self.kind} {kernel}{groups}"


def convolution(size: str, *, weights: str = "normal", acc_bits: int = 16, seed: int = 0) -> bytes:
    """An int8 CONV_2D, SAME; `layer` says how.

    Args:
        size: Kernel height and width, input and output channels, input height and width, as in
            "3x3x96x96x32x32".
        weights: As in `layer`.
        acc_bits: Bits of that accumulator.
        seed: Of the random numbers.
    """
    kernel_h, kernel_w, cin, cout, height, width = map(int, size.split("x"))
    shape = Shape("conv", height, width, cin, cout, (kernel_h, kernel_w))
    return layer(shape, weights=weights, acc_bits=acc_bits, seed=seed)


def layer(shape: Shape, *, weights: str = "normal", acc_bits: int = 16, seed: int = 0) -> bytes:
    """A model of one int8 layer with random weights.

    Args:
        shape: The layer's.
        weights: "normal": bell-shaped, the largest of each channel 127. "constrained": those
            projected on the budget's L1 ball and rounded toward zero, as A2Q does, so that dot
            products fit `acc_bits` in one accumulator. "four bits": likewise, with 7 the largest,
            of an input that the model clamps to -8..7. "extreme": all 127 or -127.
        acc_bits: Bits of that accumulator.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    depth = 1 if shape.kind == "depthwise" else shape.cin // shape.groups
    q = random_weights(
        rng, shape.cout, shape.kernel[0] * shape.kernel[1] * depth, weights, acc_bits
    )
    operands = _FOUR_BITS if weights == "four bits" else (-128, 127)
    options = {
        "clamp": operands,
        "bias": rng.integers(-1000, 1000, shape.cout),
        "weight_scale": rng.uniform(0.005, 0.02, shape.cout),
        # Puts most outputs inside the int8 range.
        "output_scale": float(
            0.05
            * 0.02
            * 74
            / 255
            * (operands[1] - operands[0])
            * np.linalg.norm(q.astype(float), axis=1).max()
            / 64
        ),
    }
    if shape.kind == "dense":
        return tflite_models.fully_connected(q, (1, shape.cin), **options)
    options |= {"stride": (shape.stride, shape.stride), "padding": shape.padding}
    image = (1, shape.height, shape.width, shape.cin)
    if shape.kind == "depthwise":
        return tflite_models.depthwise_conv2d(
            q.T.reshape(1, *shape.kernel, shape.cout), image, **options
        )
    return tflite_models.conv2d(q.reshape(shape.cout, *shape.kernel, depth), image, **options)


def network(name: str) -> Iterator[Shape]:
    """The layers of a network of networks.txt, which explains its columns.

    Raises:
        ValueError: There is no network of that name.
    """
    lines = [line.split() for line in NETWORKS.read_text().splitlines() if line[:1] != "#"]
    names = sorted({line[0] for line in lines})
    if name not in names:
        raise ValueError(f"expected a network of {NETWORKS.name}: {', '.join(names)}; got {name}")
    for network_name, kind, size, cout, kernel, stride, padding, groups, times in lines:
        if network_name != name:
            continue
        height, width, cin = map(int, size.split("x"))
        kernel_h, kernel_w = map(int, kernel.split("x"))
        yield Shape(
            *(kind, height, width, cin, int(cout), (kernel_h, kernel_w), int(stride)),
            *(padding.upper(), int(groups), int(times)),
        )


def random_weights(
    rng: np.random.Generator, channels: int, k: int, kind: str, acc_bits: int = 16
) -> NDArray[np.int8]:
    """Weights [channels, k]; `layer` says which kinds there are."""
    if kind == "extreme":
        return rng.choice(np.array([-127, 127], np.int8), (channels, k))
    weights = rng.standard_normal((channels, k))
    few = kind == "four bits"
    weights *= (7 if few else 127) / np.abs(weights).max(axis=1, keepdims=True)
    if kind == "normal":
        return np.trunc(weights).astype(np.int8)
    operands = _FOUR_BITS if few else (-128, 127)
    q = np.trunc(project_l1(weights, budget(acc_bits, *operands))).astype(np.int8)
    assert fits(q, *operands, acc_bits, Partition.of_tile(None)).all()
    return q
