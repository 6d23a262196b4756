import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.quantizers.grids import grid


@settings(deadline=None)
@given(
    st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32), st.integers(2, 8), st.booleans()
)
def test_grid_holds_zero_and_the_range(a: float, b: float, bits: int, positive: bool) -> None:
    low, high = (0.0, abs(b)) if positive else (min(a, b), max(a, b))
    scale, zero_point = (float(x) for x in grid(low, high, bits))
    half = 2 ** (bits - 1)
    assert scale > 0
    assert -half <= zero_point <= half - 1
    assert zero_point == int(zero_point)
    if low >= 0:
        assert zero_point == -half
    # Rounding of the zero point moves each end by at most half a step.
    assert (-half - zero_point) * scale <= min(low, 0) + 0.51 * scale
    assert (half - 1 - zero_point) * scale >= max(high, 0) - 0.51 * scale


@pytest.mark.parametrize("high", [0.0, 1e-45, 1.5e-38])
def test_grid_of_zeros_has_a_usable_scale(high: float) -> None:
    scale, zero_point = grid(0.0, high, 8)
    assert float(scale) == pytest.approx(1 / 255)
    assert float(zero_point) == -128


def test_symmetric_range_has_zero_point_zero() -> None:
    for bits in (4, 7):
        half = 2 ** (bits - 1)
        scale, zero_point = grid(-half * 0.3, (half - 1) * 0.3, bits)
        assert float(zero_point) == 0
        assert float(scale) == pytest.approx(0.3)


@settings(deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.integers(2, 8))
def test_a_fixed_point_grid_is_the_finest_that_spans_the_range(
    a: float, b: float, bits: int
) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero_point = (float(x) for x in grid(low, high, bits, power_of_two=True))
    half = 2 ** (bits - 1)
    assert np.log2(scale) == np.rint(np.log2(scale))
    assert zero_point == (0 if low < 0 else -half)
    magnitude = max(-low, high)
    if magnitude < 1e-3:
        return
    # B = 1 + IL + FL: the sign's bit, if any, leaves 2^(B-1) steps below 2^IL, and half of them
    # would not do.
    steps = half if low < 0 else 2 * half
    assert steps * scale >= magnitude * (1 - 1e-4)
    assert steps / 2 * scale < magnitude


@pytest.mark.parametrize("exponent", [-9, 0, 3, 7])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_a_fixed_point_range_that_ends_at_a_power_of_two_keeps_it(exponent: int, bits: int) -> None:
    from keras import ops

    end = 2.0**exponent
    for low, steps in ((0.0, 2**bits), (-end, 2 ** (bits - 1))):
        exact = grid(low, end, bits, power_of_two=True)
        assert float(exact[0]) == end / steps
        # In float32 too, as training observes it.
        assert [float(x) for x in grid(low, end, bits, True, ops)] == [float(x) for x in exact]


def test_training_and_setting_a_range_agree() -> None:
    from keras import ops

    for low, high in ((0.0, 3.7), (-1.3, 0.2), (-0.01, 9.0)):
        for power_of_two in (False, True):
            exact, trained = (grid(low, high, 5, power_of_two, xp) for xp in (np, ops))
            assert float(trained[0]) == pytest.approx(float(exact[0]), rel=1e-6)
            assert float(trained[1]) == float(exact[1])


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize(
    ("low", "high"), [(-3.0, 1.0), (-1.0, 3.0), (0.0, 3.0), (-3.0, 0.0), (0, 0)]
)
def test_a_symmetric_grid_has_its_zero_point_at_0(low, high, power_of_two) -> None:
    scale, zero_point = grid(low, high, 8, power_of_two, symmetric=True)
    assert float(zero_point) == 0
    assert -128 * float(scale) <= low + 1e-9
    # In fixed point a power of two itself saturates.
    assert 127 * float(scale) >= high - (float(scale) if power_of_two else 1e-9)


def test_the_range_of_a_symmetric_grid_gives_it_again() -> None:
    scale, _ = grid(-0.3, 0.7, 8, symmetric=True)
    again, zero_point = grid(-128 * float(scale), 127 * float(scale), 8, symmetric=True)
    assert (np.float32(again), float(zero_point)) == (np.float32(scale), 0.0)
