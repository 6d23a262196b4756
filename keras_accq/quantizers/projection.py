"""Euclidean projection on the L1 ball, row by row (Duchi et al., ICML 2008), in NumPy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


class L1Projection:
    """Projects the same rows on balls of many radii: sorts once, then one comparison per radius.

    The projection of w on {v: ‖v‖₁ <= r} is sign(w)·max(|w| - θ, 0) (figure 1 of the paper).

    Args:
        rows: float [rows, n].
    """

    def __init__(self, rows: ArrayLike) -> None:
        magnitudes = np.abs(np.asarray(rows, np.float64))
        if magnitudes.ndim != 2:
            raise ValueError(f"rows: expected shape [rows, n], received {magnitudes.shape}")
        ordered = -np.sort(-magnitudes, axis=1)
        self._sums = np.cumsum(ordered, axis=1)
        # sums[j] - (j + 1)·ordered[j] never falls along j; the paper's rho is where it passes r.
        self._rises = self._sums - ordered * np.arange(1, magnitudes.shape[1] + 1)

    def thresholds(self, radius: ArrayLike) -> FloatArray:
        """θ of each row, float64 [rows]; 0 for a row inside its ball.

        Args:
            radius: One radius, or one per row; positive.

        Raises:
            ValueError: A radius that is not positive.
        """
        rows, n = self._sums.shape
        radii = np.broadcast_to(np.asarray(radius, np.float64), (rows,))
        if not (radii > 0).all():
            raise ValueError(f"radius: expected positive numbers, received {radius!r}")
        if n == 0:
            return np.zeros(rows)
        rho = np.maximum((self._rises < radii[:, None]).sum(axis=1), 1)
        excess = np.take_along_axis(self._sums, rho[:, None] - 1, axis=1)[:, 0] - radii
        inside = self._sums[:, -1] <= radii
        return np.where(inside, 0.0, np.maximum(excess / rho, 0.0))


def project_l1(w: ArrayLike, radius: ArrayLike) -> FloatArray:
    """The point of the L1 ball that is nearest to each row.

    Args:
        w: float [rows, n].
        radius: One radius, or one per row; positive.

    Returns:
        float64 [rows, n], of L1 norm at most the radius (up to rounding).

    Raises:
        ValueError: `w` is not a matrix, or a radius is not positive.
    """
    rows = np.asarray(w, np.float64)
    theta = L1Projection(rows).thresholds(radius)
    return np.sign(rows) * np.maximum(np.abs(rows) - theta[:, None], 0.0)
