"""The widths that one dot product is trained for. Needs no Keras."""

from dataclasses import dataclass

from keras_accq.bounds import Partition, check_acc_bits, operand_range
from keras_accq.errors import BudgetError
from keras_accq.quantizers.rounding import l1_radius


@dataclass(frozen=True)
class Operands:
    """Widths of one layer's dot products.

    Attributes:
        acc_bits: P, 2..32; None for a layer that is excluded from the constraint.
        input_bits: N, 2..8, of the stored inputs in [-2^(N-1), 2^(N-1) - 1].
        weight_bits: M, 2..8, of the integer weights in ±(2^(M-1) - 1).
        tile: Consecutive weights (in file order) that share an accumulator; None for all.
        depthwise: A channel's weights are the few taps of one input channel: methods that centre
            weights leave these as they are.

    Raises:
        TypeError: A width that is no integer, or a bool.
        ValueError: A width out of range, or a tile below 1.
        BudgetError: The accumulator does not hold one product with the weight 1.
    """

    acc_bits: int | None
    input_bits: int
    weight_bits: int
    tile: int | None = None
    depthwise: bool = False

    def __post_init__(self) -> None:
        operand_range(self.input_bits)
        operand_range(self.weight_bits)
        Partition.of_tile(self.tile)
        if self.acc_bits is not None:
            check_acc_bits(self.acc_bits)
            if self.radius < 1:
                raise BudgetError(
                    f"{self.acc_bits} accumulator bits hold no product of a {self.input_bits}-bit "
                    f"input with the weight 1; expected acc_bits >= {self.input_bits + 1} or a "
                    "smaller input_bits"
                )

    @property
    def partition(self) -> Partition:
        return Partition.of_tile(self.tile)

    @property
    def input_range(self) -> tuple[int, int]:
        """Stored inputs, after the layer's clamp."""
        return operand_range(self.input_bits)

    @property
    def largest(self) -> int:
        """The largest |q|: symmetric, so that a channel's sign can be flipped."""
        return operand_range(self.weight_bits)[1]

    @property
    def radius(self) -> float:
        """T_int, the L1 norm that the accumulator leaves for each cell's integer weights.

        L / 2^(N-1): A2Q (arXiv 2308.13504), equation 9, for inputs stored in N signed bits.
        """
        if self.acc_bits is None:
            raise ValueError("acc_bits: an excluded layer has no budget")
        return l1_radius(self.acc_bits, self.input_bits)
