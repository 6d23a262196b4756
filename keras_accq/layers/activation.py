"""The layer that quantizes the tensors of one scale group."""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from keras_accq.bounds import operand_range
from keras_accq.kerases import check_same_keras
from keras_accq.quantizers.activation import fake_quantize, fake_quantize_average
from keras_accq.quantizers.grids import grid

_MOMENTUM = 0.9


class TensorQuantizer:
    """Rounds every tensor that shares one scale and zero point to its int8 grid.

    Mixed into the layer class of either Keras.

    The grid is chosen for the N bits that the layers reading the tensors take. Calling the layer
    gives the values of the whole int8 range on that grid; `narrow=True` those of the clamped N-bit
    operand. One layer serves all tensors of a group (both sides of an AveragePooling2D, say).

    Args:
        bits: N, 2..8.
        observe: Whether training measures the range, by moving averages; otherwise it is set once,
            by `set_range`.
        clip: With `observe`, the range ends at this many root mean squares of the nonzero values:
            at few bits the largest value is a wasteful end. None for the smallest and largest.
        power_of_two: Whether the grid is fixed point: see `quantizers.grids`.
        learn: Whether training learns the scale, starting from the range set, by the gradient that
            rounding and clipping have in it (LSQ: Esser et al., arXiv 1902.08153, section 2.1;
            here of a factor's logarithm, so that a scale stays positive).
        symmetric: Whether the zero point is 0.

    Raises:
        TypeError, ValueError: Bad bits.
        ValueError: `learn` with `observe`, which sets the scale in training too, or with
            `power_of_two`.
    """

    name: Any
    compute_dtype: Any

    def __init__(
        self,
        bits: int = 8,
        observe: bool = True,
        clip: float | None = None,
        power_of_two: bool = False,
        learn: bool = False,
        symmetric: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        operand_range(bits)
        if learn and (observe or power_of_two):
            raise ValueError("learn: a scale that is observed or a power of two can not be learned")
        self.bits = int(bits)
        self.observe = observe
        self.clip = clip
        self.power_of_two = power_of_two
        self.learn = learn
        self.symmetric = symmetric

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),  # type: ignore[misc]
            "bits": self.bits,
            "observe": self.observe,
            "clip": self.clip,
            "power_of_two": self.power_of_two,
            "learn": self.learn,
            "symmetric": self.symmetric,
        }

    def _add_scalar(self, name: str, value: str, trainable: bool = False) -> Any:
        """A float32 variable, whatever the policy."""
        raise NotImplementedError

    def _is_symbolic(self) -> bool:
        """Whether the call has no values, as when a model is put together."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        self.scale = self._add_scalar("scale", "ones")
        self.zero_point = self._add_scalar("zero_point", "zeros")
        self.observed = self._add_scalar("observed", "zeros")
        if self.observe:
            self.low = self._add_scalar("low", "zeros")
            self.high = self._add_scalar("high", "zeros")
        if self.learn:
            self.log2_gain = self._add_scalar("log2_gain", "zeros", trainable=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def call(
        self,
        inputs: Any,
        narrow: bool = False,
        requantize: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Quantizes a tensor of the group.

        Args:
            inputs: float, any shape.
            narrow: Clamp to the N-bit operand.
            requantize: The input comes from a tensor of the group, or averages its values: it says
                nothing new about the range, and is rounded as TFLite rounds averages.
            training: Whether to observe the range.

        Raises:
            TypeError: The tensor is one of a model of the other Keras.
            ValueError: No range was ever observed, naming the tensor. What JAX compiles can raise
                nothing: its outputs are NaN then.
        """
        check_same_keras(self, inputs)
        x = ops.cast(inputs, "float32")
        if training and self.observe and not requantize:
            self._observe(ops.stop_gradient(x))
        scale = self._current_scale()
        if not training and not self._is_symbolic() and self.check_observed() is None:
            scale = ops.where(ops.convert_to_tensor(self.observed) > 0, scale, float("nan"))
        bits = self.bits if narrow else 8
        rounded = fake_quantize_average if requantize else fake_quantize
        quantized = rounded(x, scale, ops.convert_to_tensor(self.zero_point), bits)
        return ops.cast(quantized, self.compute_dtype)

    def _current_scale(self) -> Any:
        scale = ops.convert_to_tensor(self.scale)
        return scale * ops.exp2(ops.convert_to_tensor(self.log2_gain)) if self.learn else scale

    def parameters_without_decay(self) -> list[Any]:
        """What weight decay would pull toward a value that means nothing."""
        return [self.log2_gain] if self.learn else []

    def _observe(self, x: Any) -> None:
        low, high = ops.min(x), ops.max(x)
        if self.clip is not None:
            count = ops.maximum(ops.sum(ops.cast(x != 0, "float32")), 1.0)
            end = self.clip * ops.sqrt(ops.sum(ops.square(x)) / count)
            low, high = ops.maximum(low, -end), ops.minimum(high, end)
        # The first batch counts whole.
        share = 1 - _MOMENTUM * ops.convert_to_tensor(self.observed)
        for variable, value in ((self.low, low), (self.high, high)):
            old = ops.convert_to_tensor(variable)
            # Not an infinite value, as it would never leave again.
            variable.assign(ops.where(ops.isfinite(value), old + share * (value - old), old))
        # Read again: a distributed model's variables now hold the mean of what replicas observed,
        # of which there can be one grid only.
        low, high = (ops.convert_to_tensor(variable) for variable in (self.low, self.high))
        scale, zero_point = grid(low, high, self.bits, self.power_of_two, ops, self.symmetric)
        self.scale.assign(scale)
        self.zero_point.assign(zero_point)
        self.observed.assign(ops.ones(()))

    def set_range(self, low: float, high: float) -> None:
        """Sets the real values that the N-bit operand spans; the layer must be built.

        Setting the range that `spanned` returned restores scale and zero point exactly.
        """
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ValueError(f"{self.name}: expected finite low <= high, received {low}, {high}")
        # In float64: s·(q - z) of a float32 scale has no rounding errors there.
        ends = float(low), float(high)
        scale, zero_point = grid(*ends, self.bits, self.power_of_two, symmetric=self.symmetric)
        self.scale.assign(scale)
        self.zero_point.assign(zero_point)
        self.observed.assign(1.0)
        if self.observe:
            self.low.assign(low)
            self.high.assign(high)
        if self.learn:
            self.log2_gain.assign(0.0)

    def spanned(self) -> tuple[float, float]:
        """The real values (low, high) that the N-bit operand spans.

        Raises:
            ValueError: As check_observed.
        """
        scale, zero_point = self.quantization()
        smallest, largest = operand_range(self.bits)
        return (smallest - zero_point) * float(scale), (largest - zero_point) * float(scale)

    def check_observed(self) -> bool | None:
        """Refuses a range that was never observed.

        Returns:
            What `has_range` does: True, or None.

        Raises:
            ValueError: It was not, naming the layer and with it the tensor.
        """
        known = self.has_range()
        if known is False:
            raise ValueError(
                f"{self.name}: no range was ever observed for this tensor. Train the model for "
                "some batches, or quantize with calibration_data (and input_range for its inputs)"
            )
        return known

    def has_range(self) -> bool | None:
        """Whether the range was set or observed; None if that is known only when a trace runs."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # The value now, also while a tf.function is being traced. What is observed stays so.
            with tf.init_scope():
                return bool(self.observed.numpy() > 0)
        observed = ops.convert_to_tensor(self.observed)
        if keras.backend.backend() == "jax":
            from jax.core import Tracer

            # The variables themselves may hold nothing, or something old, while JAX runs.
            if isinstance(observed, Tracer):
                return None
        return bool(ops.convert_to_numpy(observed) > 0)

    def quantization(self) -> tuple[np.float32, int]:
        """The scale and the zero point of the group's int8 tensors.

        Raises:
            ValueError: As check_observed, or a learned scale that is no positive number.
        """
        self.check_observed()
        scale = np.float32(ops.convert_to_numpy(self._current_scale()))
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(
                f"{self.name}: expected a positive scale, training made it {scale}; did it diverge?"
            )
        return scale, int(ops.convert_to_numpy(self.zero_point))


@keras.saving.register_keras_serializable(package="keras_accq")
class ActivationQuantizer(TensorQuantizer, keras.layers.Layer):
    """`TensorQuantizer` as a layer of Keras 3."""

    def _add_scalar(self, name: str, value: str, trainable: bool = False) -> Any:
        return self.add_weight(
            name=name,
            shape=(),
            initializer=value,
            trainable=trainable,
            autocast=False,
            dtype="float32",
            # Replicas of a distributed model observe different batches.
            aggregation="mean",
        )

    def _is_symbolic(self) -> bool:
        return bool(in_symbolic_scope())

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
