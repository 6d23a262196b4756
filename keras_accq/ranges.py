"""Rules for the range that an activation tensor's N-bit grid spans. Needs NumPy only.

"mse" takes the range with the least squared error of the rounded and clipped values; "percentile"
leaves out 0.1 % of the values at each end; "minmax" leaves out none.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]

RULES = ("mse", "percentile", "minmax")

_PERCENTILE = 99.9
# The ranges that "mse" tries, as multiples of the widest.
_CLIPS = np.append(np.geomspace(0.05, 0.2, 5)[:-1], np.geomspace(0.2, 1.0, 13))
# Of fixed-point grids, whose scales are powers of two: the widest and finer ones.
_OCTAVES = np.array([0.125, 0.25, 0.5, 1.0])


def check_rule(rule: Any, calibrated: bool) -> None:
    """Refuses a rule that does not exist, or that needs calibration data where there are none.

    Raises:
        ValueError: Either.
    """
    if rule not in RULES:
        raise ValueError(f"activation_range: expected one of {RULES}, received {rule!r}")
    if rule == "percentile" and not calibrated:
        raise ValueError("activation_range: 'percentile' needs calibration_data, received None")


def candidates(
    rule: str, samples: NDArray[Any], widest: Range, power_of_two: bool = False
) -> Sequence[Range]:
    """The ranges to choose from, the widest last.

    Args:
        rule: One of `RULES`.
        samples: float, flat: values of the tensor.
        widest: The smallest and largest value, or the ends that are to count as such.
        power_of_two: The grid's scale will be a power of two.

    Returns:
        Real pairs (low, high) with low <= 0 < high: every grid holds 0.
    """
    low, high = widest
    if rule == "percentile":
        low = max(low, float(np.percentile(samples, 100 - _PERCENTILE)))
        high = min(high, float(np.percentile(samples, _PERCENTILE)))
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        # More than half the values are 0, say: no end is better than another.
        low, high = min(widest[0], 0.0), max(widest[1], 0.0)
    if low == high:
        high = 1.0
    if rule != "mse":
        return [(low, high)]
    return [(float(c * low), float(c * high)) for c in (_OCTAVES if power_of_two else _CLIPS)]
