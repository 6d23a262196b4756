"""What the quantized compute layers share: constrained weights and their integers."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_accq.bounds import accumulator_limit, worst_case
from keras_accq.errors import BudgetError
from keras_accq.layers import kernels
from keras_accq.layers.kernels import from_matrix, to_matrix
from keras_accq.quantizers import methods
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounded import Rounded
from keras_accq.quantizers.straight_through import round_half_even


def parameter_values(variables: Mapping[str, Any], power_of_two: bool) -> dict[str, Any]:
    """What a method's `quantize` is given for its parameters.

    Args:
        variables: By name, of either Keras.
        power_of_two: Whether scales are 2^-FL.
    """
    values = {name: ops.convert_to_tensor(v) for name, v in variables.items()}
    if power_of_two and "log2_scale" in values:
        values["log2_scale"] = round_half_even(values["log2_scale"])
    return values


class QuantizedWeights(keras.layers.Layer):
    """Mixed into a Keras layer whose `kernel` it quantizes on every call.

    The Keras kernel variable holds the method's v, so that initializers, checkpoints and optimizers
    work on it as usual. All constraint arithmetic is float32 under any dtype policy.

    Args:
        acc_bits: P, 2..32; None for a layer excluded from the constraint.
        weight_bits: M, 2..8.
        input_bits: N, 2..8. The layer expects inputs clamped to N bits on their grid; the
            `ActivationQuantizer` before it sees to that.
        tile: Consecutive weights, in file order, that share an accumulator; None for all.
        method: A method's name or object; see `quantizers.methods`.
        widths_from: How M and N came about, for summaries: "given", "measured" (chosen by the fill
            rule for calibration data) or "assumed" (chosen for an assumed distribution).
        power_of_two: Whether the scales are fixed point, 2^-FL, in training too.

    Raises:
        BudgetError: The accumulator holds no product of an N-bit input, naming the layer.
        TypeError, ValueError: As `Operands` and `methods.get`.
    """

    def __init__(
        self,
        *args: Any,
        acc_bits: int | None = 16,
        weight_bits: int = 8,
        input_bits: int = 8,
        tile: int | None = None,
        method: Any = "a2q",
        widths_from: str = "given",
        power_of_two: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        try:
            self.operands = Operands(
                acc_bits, input_bits, weight_bits, tile, depthwise=kernels.is_depthwise(self)
            )
        except BudgetError as error:
            raise BudgetError(f"{self.name}: {error}") from None
        self.method = methods.get(method)
        self.widths_from = widths_from
        self.power_of_two = power_of_two

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "acc_bits": self.operands.acc_bits,
            "weight_bits": self.operands.weight_bits,
            "input_bits": self.operands.input_bits,
            "tile": self.operands.tile,
            "method": keras.saving.serialize_keras_object(self.method),
            "widths_from": self.widths_from,
            "power_of_two": self.power_of_two,
        }

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        # Half precision would round v, s and g, and with them the integers.
        return super().add_weight(*args, **{**kwargs, "autocast": False})

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self._check_budget()
        self._parameters = {
            name: self.add_weight(name=name, shape=(self.channels,), initializer="zeros")
            for name in self.method.parameters
        }

    def _check_budget(self) -> None:
        if self.operands.acc_bits is None:
            return
        k = int(np.prod(self._variable.shape)) // self.channels
        try:
            self.method.check(self.operands, k)
        except BudgetError as error:
            raise BudgetError(f"{self.name}: {error}") from None

    @property
    def channels(self) -> int:
        """Output channels, counted by the kernel."""
        return kernels.channels(self)

    @property
    def _variable(self) -> Any:
        return self._kernel

    def _matrix(self) -> Any:
        return to_matrix(self, ops.convert_to_tensor(self._variable), ops)

    def _values(self) -> dict[str, Any]:
        """The method's parameters."""
        return parameter_values(self._parameters, self.power_of_two)

    def _quantize(self) -> tuple[Any, Any]:
        return self.method.quantize(self._matrix(), self._values(), self.operands)

    def _fake_quantized_kernel(self) -> Any:
        """s·q in the kernel's shape and the compute dtype; adds the method's penalty."""
        integers, scale = self._quantize()
        if self.method.regularization > 0:
            self.add_loss(self.method.penalty(self._matrix(), self._values(), self.operands))
        return ops.cast(from_matrix(self, integers * scale, ops), self.compute_dtype)

    def _finish(self, outputs: Any) -> Any:
        if self.bias is not None:
            outputs = outputs + ops.cast(self.bias, self.compute_dtype)
        return outputs if self.activation is None else self.activation(outputs)

    def quantized_kernel(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """The integer weights and what they stand for.

        Returns:
            int8 in the Keras kernel's layout, within ±(2^(M-1) - 1), and float32 [channels],
            the weight that the integer 1 stands for, per output channel. A depthwise layer's
            channels are its input channels times the depth multiplier, the latter varying faster.

        Raises:
            ValueError: Weights or parameters that are not finite.
        """
        integers, scale = (ops.convert_to_numpy(x) for x in self._quantize())
        variables = (self._variable, *self._parameters.values())
        finite = [np.isfinite(ops.convert_to_numpy(variable)).all() for variable in variables]
        if not (all(finite) and np.isfinite(integers).all() and np.isfinite(scale).all()):
            bad = [v.name for v, good in zip(variables, finite, strict=True) if not good]
            raise ValueError(
                f"{self.name}: expected finite weights, received NaN, infinite or huge values "
                f"in {bad or 'its scales and norms'}; did the training diverge?"
            )
        q = from_matrix(self, np.rint(integers).astype(np.int8))
        return q, scale.astype(np.float32)

    def log2_scales(self) -> NDArray[np.float32]:
        """Base-2 logarithms of the scales of a constrained layer, float32 [channels]."""
        values: NDArray[np.float32] = ops.convert_to_numpy(self._values()["log2_scale"])
        return values

    def set_float_weights(
        self, kernel: NDArray[Any], bias: NDArray[Any] | None, scales: NDArray[Any]
    ) -> None:
        """Starts the layer from float weights, as near to them as the budget allows.

        Args:
            kernel: float, in the Keras kernel's shape.
            bias: float [channels], or None for a layer without one.
            scales: float [channels], positive: the weight that the integer 1 stands for.
        """
        matrix = to_matrix(self, np.asarray(kernel, np.float64))
        v, parameters = self.method.initial(matrix, np.asarray(scales, np.float64), self.operands)
        self._variable.assign(from_matrix(self, v))
        for name, value in parameters.items():
            self._parameters[name].assign(value)
        if bias is not None:
            self.bias.assign(bias)

    def set_integer_weights(self, q: NDArray[Any], scales: NDArray[Any]) -> None:
        """Gives the layer integers that a post-training method found.

        Args:
            q: int8, in the Keras kernel's shape.
            scales: float [channels], positive: the weight that the integer 1 stands for.

        Raises:
            TypeError: q is not int8, or the layer's method rounds weights in its own way.
            ValueError: A wrong shape, integers beyond ±(2^(M-1) - 1), or bad scales.
            BudgetError: A channel that does not fit the accumulator.
        """
        if not isinstance(self.method, Rounded):
            raise TypeError(
                f"{self.name}: expected a method that holds integers, such as 'axe' or 'round', "
                f"came {self.method!r}"
            )
        if q.dtype != np.int8:
            raise TypeError(f"{self.name}: expected q of int8, received {q.dtype}")
        shape = tuple(self._variable.shape)
        if q.shape != shape or np.shape(scales) != (self.channels,):
            raise ValueError(
                f"{self.name}: expected q of shape {shape} and {self.channels} scales, received "
                f"{q.shape} and {np.shape(scales)}"
            )
        values = np.asarray(scales, np.float64)
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{self.name}: expected finite, positive scales, received {scales!r}")
        if self.power_of_two and not (np.frexp(values)[0] == 0.5).all():
            raise ValueError(f"{self.name}: expected powers of two as scales, received {scales!r}")
        matrix = to_matrix(self, q)
        self._check_fits(matrix)
        v, parameters = self.method.holding(matrix, values)
        self._variable.assign(from_matrix(self, v))
        for name, value in parameters.items():
            self._parameters[name].assign(value)

    def _check_fits(self, q: NDArray[Any]) -> None:
        """Refuses integers [K, channels] that are too large or do not fit the accumulator."""
        operands = self.operands
        largest = int(np.abs(q.astype(np.int64)).max(initial=0))
        if largest > operands.largest:
            raise ValueError(
                f"{self.name}: expected integers within ±{operands.largest} (M = "
                f"{operands.weight_bits}), received {largest}"
            )
        if operands.acc_bits is None:
            return
        worst = worst_case(q.T, *operands.input_range, operands.partition)
        channel = int(worst.argmax())
        if worst[channel] > accumulator_limit(operands.acc_bits):
            raise BudgetError(
                f"{self.name}: channel {channel} reaches {worst[channel]}, beyond "
                f"{accumulator_limit(operands.acc_bits)} at P = {operands.acc_bits}, "
                f"{operands.partition}"
            )

    # Keras's Dense saves only the variables that it knows.
    def save_own_variables(self, store: Any) -> None:
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        keras.layers.Layer.load_own_variables(self, store)

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{self.name}: already quantized by keras_accq")

    def parameters_without_decay(self) -> list[Any]:
        """The variables that weight decay must leave alone: scales, norms and the bias."""
        bias = [] if self.bias is None else [self.bias]
        return [*self._parameters.values(), *bias]
