"""What all weight quantization methods share: options, their serialized form, comparison."""

import inspect
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import Cells, Rounding


class Method:
    """A way to quantize weights, and its options: the arguments of `__init__`, kept by name.

    Matrices are [K, C] with K in file order (kh, kw, cin), parameters float32 [C] by name.

    Attributes:
        name: What `accq.quantize(method=...)` calls it.
        parameters: The trained variables that it needs besides the weights, one value per channel.
            "log2_scale" among them is the logarithm of the weight that the integer 1 stands for.
        post_training: Whether `accq.quantize` solves for the integers with calibration data once
            the model is built.
        regularization: Weight of `penalty`; 0 for none.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]] = ("log2_scale",)
    post_training: ClassVar[bool] = False
    regularization: float = 0.0

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """The names of the options."""
        return tuple(inspect.signature(cls).parameters)

    def get_config(self) -> dict[str, Any]:
        """The options by name."""
        return {name: getattr(self, name) for name in self.options()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The method with the options of `get_config`."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.get_config() == self.get_config()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.get_config().values())))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({options})"

    def rounding(self, depthwise: bool = False) -> Rounding:
        """How the method rounds float weights, in NumPy, for the fill rule.

        Args:
            depthwise: As in `Operands`.
        """
        raise NotImplementedError

    def check(self, operands: Operands, k: int) -> None:
        """Refuses widths that leave a layer's accumulator nothing but zeros.

        Args:
            operands: The layer's widths, with a constraint.
            k: Products summed per output.

        Raises:
            BudgetError: The text names the least P.
        """
        assert operands.acc_bits is not None
        self.rounding(operands.depthwise).check(
            operands.acc_bits,
            operands.input_bits,
            operands.weight_bits,
            int(Cells(operands.partition, k).lengths.max(initial=0)),
        )

    def initial(
        self, weights: NDArray[Any], scales: NDArray[Any], operands: Operands
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """What stands for float weights, as near as the budget allows.

        Args:
            weights: float [K, C].
            scales: float [C], positive: the weight that the integer 1 stands for.
            operands: The layer's widths.

        Returns:
            The layer's variable v, float32 [K, C], and the parameters.
        """
        raise NotImplementedError

    def quantize(self, v: Any, parameters: dict[str, Any], operands: Operands) -> tuple[Any, Any]:
        """Integers q [K, C] (as float32, with straight-through gradients) and scales s [C]."""
        raise NotImplementedError

    def penalty(self, v: Any, parameters: dict[str, Any], operands: Operands) -> Any:
        """A scalar for the loss; asked for only where `regularization` is positive."""
        raise NotImplementedError
