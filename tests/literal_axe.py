"""AXE written down literally and slowly, apart from the package: one weight at a time."""

import numpy as np

from keras_accq.quantizers.operands import Operands


def threshold(tile: np.ndarray, radius: float) -> float:
    """The soft threshold that projects a tile less its mean on an L1 ball, by bisection."""
    magnitudes = np.abs(tile - tile.mean())
    if magnitudes.sum() <= radius:
        return 0.0
    low, high = 0.0, magnitudes.max()
    for _ in range(200):
        middle = (low + high) / 2
        inside = np.maximum(magnitudes - middle, 0).sum() <= radius
        low, high = (low, middle) if inside else (middle, high)
    return high


class Budget:
    """One channel's accumulators, in Python's integers."""

    def __init__(self, operands: Operands, k: int) -> None:
        self.operands = operands
        self.q = [0] * k

    def fits(self, position: int, value: int) -> bool:
        """Whether the weight may have the value, given all others."""
        tile = self.operands.tile or len(self.q)
        start = position // tile * tile
        trial = list(self.q)
        trial[position] = value
        cell = trial[start : start + tile]
        low, high = self.operands.input_range
        positive, negative = sum(x for x in cell if x > 0), -sum(x for x in cell if x < 0)
        limit = 2 ** (self.operands.acc_bits - 1) - 1
        return (
            abs(value) <= self.operands.largest
            and high * positive - low * negative <= limit
            and -low * positive + high * negative <= limit
        )

    def nearest(self, position: int, wanted: float) -> int:
        """The allowed integer that is nearest to a number, found by stepping toward 0."""
        largest = self.operands.largest
        value = int(np.rint(np.clip(wanted, -largest, largest)))
        while not self.fits(position, value):
            value -= 1 if value > 0 else -1
        return value

    def choose(self, position: int, wanted: float, soft: np.ndarray | None) -> int:
        if soft is not None:
            wanted = np.sign(wanted) * max(abs(wanted) - soft[position], 0.0)
        self.q[position] = self.nearest(position, wanted)
        return self.q[position]


def soft_thresholds(units: np.ndarray, operands: Operands) -> np.ndarray:
    """The threshold of each weight's tile, [K]."""
    k = len(units)
    tile = operands.tile or k
    low, high = operands.input_range
    radius = (2**operands.acc_bits - 2) / (high - low)
    return np.concatenate(
        [np.full(len(part), threshold(part, radius)) for part in _tiles(units, tile)]
    )


def _tiles(units: np.ndarray, tile: int) -> list[np.ndarray]:
    return [units[start : start + tile] for start in range(0, len(units), tile)]


def optq(
    weights: np.ndarray,
    scale: float,
    gram: np.ndarray,
    order: np.ndarray,
    operands: Operands,
    *,
    soft: bool,
) -> np.ndarray:
    """Algorithm 1 of arXiv 2210.17323 with AXE's two limits: errors are moved by rows of U."""
    k = len(weights)
    units = weights / scale
    thresholds = soft_thresholds(units, operands) if soft else None
    damped = gram + 0.01 * np.diag(gram).mean() * np.eye(k)
    inverse = np.linalg.inv(damped[np.ix_(order, order)])
    upper = np.linalg.cholesky(inverse).T
    left = units[order].copy()
    budget = Budget(operands, k)
    for t, position in enumerate(order):
        q = budget.choose(position, left[t], thresholds)
        left[t:] -= (left[t] - q) / upper[t, t] * upper[t, t:]
    return np.array(budget.q)


def gpfq(
    weights: np.ndarray,
    scale: float,
    quantized: np.ndarray,
    floats: np.ndarray,
    order: np.ndarray,
    operands: Operands,
    *,
    soft: bool,
) -> np.ndarray:
    """Equation 2 of arXiv 2201.11113 on the vectors themselves, with AXE's two limits.

    `quantized` and `floats` are [vectors, K].
    """
    units = weights / scale
    thresholds = soft_thresholds(units, operands) if soft else None
    residual = np.zeros(len(floats))
    budget = Budget(operands, len(weights))
    for position in order:
        own = quantized[:, position]
        residual = residual + units[position] * floats[:, position]
        wanted = own @ residual / (own @ own)
        residual = residual - budget.choose(position, wanted, thresholds) * own
    return np.array(budget.q)
