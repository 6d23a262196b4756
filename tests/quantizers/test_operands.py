import pytest

from keras_accq.bounds import Partition, budget
from keras_accq.errors import BudgetError
from keras_accq.quantizers.operands import Operands


@pytest.mark.parametrize("acc_bits", [10, 12, 16, 20, 32])
@pytest.mark.parametrize("input_bits", [2, 5, 8])
def test_radius_has_the_exact_budget_as_its_integer_part(acc_bits: int, input_bits: int) -> None:
    operands = Operands(acc_bits, input_bits, 8)
    exact = budget(acc_bits, *operands.input_range)
    assert exact <= operands.radius < exact + 1


def test_ranges() -> None:
    operands = Operands(16, 5, 4, 64)
    assert operands.input_range == (-16, 15)
    assert operands.largest == 7
    assert operands.partition == Partition("runs", 64)


def test_least_accumulator_is_named_and_works() -> None:
    with pytest.raises(BudgetError, match="acc_bits >= 9"):
        Operands(8, 8, 8)
    assert Operands(9, 8, 8).radius >= 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((True, 8, 8), TypeError),
        ((33, 8, 8), ValueError),
        ((16, 1, 8), ValueError),
        ((16, 8, 9), ValueError),
        ((16, 8, 8.0), TypeError),
        ((16, 8, 8, 0), ValueError),
        ((16, 8, 8, True), TypeError),
    ],
)
def test_bad_widths_are_refused(arguments: tuple, error: type[Exception]) -> None:
    with pytest.raises(error):
        Operands(*arguments)


def test_an_excluded_layer_has_no_radius() -> None:
    with pytest.raises(ValueError, match="no budget"):
        _ = Operands(None, 8, 8).radius
