import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_accq.quantizers.projection import L1Projection, project_l1


def _by_bisection(row: np.ndarray, radius: float) -> np.ndarray:
    low, high = 0.0, float(np.abs(row).max())
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(np.abs(row) - middle, 0).sum() > radius:
            low = middle
        else:
            high = middle
    inside = np.abs(row).sum() <= radius
    return row if inside else np.sign(row) * np.maximum(np.abs(row) - high, 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.01, 50))
def test_matches_bisection(seed: int, n: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3, n)).round(1)  # Rounded, so that there are ties and zeros.
    projected = project_l1(rows, radius)
    for row, point in zip(rows, projected, strict=True):
        np.testing.assert_allclose(point, _by_bisection(row, radius), atol=1e-9)
        assert np.abs(point).sum() <= radius + 1e-9


def test_a_radius_per_row_and_reuse() -> None:
    rows = np.array([[3.0, -1.0], [0.5, 0.25], [0.0, 0.0]])
    np.testing.assert_allclose(
        project_l1(rows, [2.0, 1.0, 1.0]), [[2.0, 0.0], [0.5, 0.25], [0.0, 0.0]]
    )
    projection = L1Projection(rows)
    np.testing.assert_allclose(projection.thresholds(2.0), [1.0, 0.0, 0.0])
    np.testing.assert_allclose(projection.thresholds(3.0), [0.5, 0.0, 0.0])


def test_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="positive"):
        project_l1([[1.0]], 0.0)
    with pytest.raises(ValueError, match="shape"):
        project_l1([1.0, 2.0], 1.0)
