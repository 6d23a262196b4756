"""Weights at which rounding goes wrong most easily, as a Hypothesis strategy."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def matrices(draw, max_k=200):
    """float32 [K, 10]: heavy-tailed, equal, one-sided, sparse, tied, tiny and huge weights."""
    k = draw(st.integers(1, max_k))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    normal = rng.normal(size=k)
    columns = [
        normal,
        normal**3,
        np.full(k, 1 / 3),
        np.abs(normal),
        -np.abs(normal) - 100,
        np.where(rng.random(k) < 0.9, 0.0, normal),
        rng.integers(-3, 4, k) + 0.5,
        rng.integers(-200, 201, k),
        normal * 2.0 ** rng.integers(-40, 40, k),
        np.where(np.arange(k) == 0, 1e6, normal),
    ]
    scale = 2.0 ** draw(st.floats(-100, 100))
    return np.clip(np.stack(columns, axis=1) * scale, -1e36, 1e36).astype(np.float32)
