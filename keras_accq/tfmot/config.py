"""Accumulator budgets as tfmot's `QuantizeConfig` and `Quantizer`."""

from typing import Any

from keras import ops

from keras_accq.layers.kernels import Layout
from keras_accq.layers.weights import parameter_values
from keras_accq.quantizers import methods
from keras_accq.quantizers.max_scale import MaxScale
from keras_accq.quantizers.method import Method
from keras_accq.quantizers.operands import Operands
from keras_accq.settings import LayerSettings
from keras_accq.tfmot.packages import tf_keras, tfmot

_registered = tf_keras.utils.register_keras_serializable(package="keras_accq")
_KERNELS: dict[str, str] = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "DepthwiseConv2D": "depthwise_kernel",
    "Dense": "kernel",
}


def is_compute(layer: Any) -> bool:
    """Whether a layer has dot products that a config can constrain."""
    name = type(layer).__name__
    return name in _KERNELS and type(layer) is getattr(tf_keras.layers, name)


@_registered
class AccumulatorWeightQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """A tfmot `Quantizer` of the weights of one layer: the functions of `quantizers/`.

    Args:
        config: The layer's config, with all widths decided.
        depthwise: Whether it is a DepthwiseConv2D.
        transposed: Whether it is a Conv2DTranspose.
    """

    def __init__(
        self,
        config: "AccumulatorQuantizeConfig | dict[str, Any]",
        depthwise: bool = False,
        transposed: bool = False,
    ) -> None:
        self.config: AccumulatorQuantizeConfig = (
            AccumulatorQuantizeConfig(**config) if isinstance(config, dict) else config
        )
        self.depthwise = depthwise
        self.transposed = transposed
        self.operands = self.config.operands(depthwise)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The method's parameters, and a mask where zeros stay zeros, as weights of the layer."""
        self.layout = Layout(
            tuple(int(size) for size in tensor_shape), self.depthwise, self.transposed
        )
        common = {"experimental_autocast": False, "dtype": "float32"}
        shape = (self.layout.channels,)
        weights = {
            parameter: layer.add_weight(
                name=f"{name}_{parameter}", shape=shape, initializer="zeros", **common
            )
            for parameter in self.config.method.parameters
        }
        if self.config.preserve_sparsity:
            weights["mask"] = layer.add_weight(
                name=f"{name}_mask",
                shape=self.layout.shape,
                initializer="ones",
                trainable=False,
                **common,
            )
        return weights

    def __call__(self, inputs: Any, training: Any, weights: dict[str, Any], **kwargs: Any) -> Any:
        """s·q in the kernel's shape, of the dtype that the layer computes in."""
        integers, scale = self.integers(inputs, weights)
        return ops.cast(self.layout.from_matrix(integers * scale, ops), inputs.dtype)

    def integers(
        self, kernel: Any, weights: dict[str, Any], operands: Operands | None = None
    ) -> tuple[Any, Any]:
        """q [K, channels] as float32, and s [channels].

        Args:
            kernel: v, in the kernel's shape.
            weights: What `build` returned.
            operands: Other widths than the layer's, to see what they would make of it.
        """
        q, scale = self.config.method.quantize(
            *self._arguments(kernel, weights), operands or self.operands
        )
        if "mask" in weights:
            # Fewer products: what fits without the mask fits with it.
            q = q * self.layout.to_matrix(ops.convert_to_tensor(weights["mask"]), ops)
        return q, scale

    def penalty(self, kernel: Any, weights: dict[str, Any]) -> Any:
        """The method's share of the loss."""
        return self.config.method.penalty(*self._arguments(kernel, weights), self.operands)

    def _arguments(self, kernel: Any, weights: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        # With mixed precision the variable would be read in half of it, and give other integers.
        kernel = getattr(kernel, "_variable", kernel) if hasattr(kernel, "true_dtype") else kernel
        matrix = self.layout.to_matrix(ops.cast(ops.convert_to_tensor(kernel), "float32"), ops)
        parameters = {name: weights[name] for name in self.config.method.parameters}
        return matrix, parameter_values(parameters, self.config.power_of_two)

    def get_config(self) -> dict[str, Any]:
        return {
            "config": self.config.get_config(),
            "depthwise": self.depthwise,
            "transposed": self.transposed,
        }


@_registered
class AccumulatorQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):
    """What `tfmot.quantization.keras.quantize_annotate_layer` says about a layer.

    `quantize_apply(model, scheme=accq.AccumulatorQuantizeScheme())` makes it true. The activations
    are quantized by layers that the scheme adds, since several layers can share one scale, so the
    config quantizes weights only.

    Args:
        acc_bits: P, 2..32.
        weight_bits: M, 2..8; None lets the fill rule choose.
        input_bits: N, 2..8; None lets the fill rule choose.
        tile: Consecutive weights, in file order, that share an accumulator; None for all.
        method: A method's name or object, as for `accq.quantize`.
        exclude: 8-bit weights and inputs, and no constraint.
        preserve_sparsity: Keeps at zero the weights that are zero when the model is quantized, such
            as those that tfmot's pruning made zero.
        method_options: Options of the method, if it is given by its name.
        widths_from: Set by the scheme: how the widths were decided.
        power_of_two: Set by the scheme: whether scales are 2^-FL.

    Raises:
        TypeError, ValueError: Bad arguments.
    """

    def __init__(
        self,
        acc_bits: int = 16,
        weight_bits: int | None = None,
        input_bits: int | None = None,
        tile: int | None = None,
        method: Any = "a2q",
        exclude: bool = False,
        preserve_sparsity: bool = False,
        method_options: dict[str, Any] | None = None,
        widths_from: str | None = None,
        power_of_two: bool = False,
    ) -> None:
        if not isinstance(preserve_sparsity, bool):
            raise TypeError(f"preserve_sparsity: expected a bool, received {preserve_sparsity!r}")
        options = dict(method_options or {})
        chosen: Method = (
            MaxScale(**options)
            if method == MaxScale.name and exclude
            else methods.get(method, **options)
        )
        self.settings = LayerSettings(
            acc_bits, weight_bits, input_bits, tile, "a2q" if exclude else chosen, exclude
        )
        self.method = chosen
        self.preserve_sparsity = preserve_sparsity
        self.widths_from = widths_from
        self.power_of_two = power_of_two

    def operands(self, depthwise: bool) -> Operands:
        """The layer's widths.

        Raises:
            ValueError: No scheme has decided them yet.
        """
        settings = self.settings
        if self.widths_from is None:
            raise ValueError(
                "AccumulatorQuantizeConfig: no widths and scales are decided yet; expected "
                "tfmot.quantization.keras.quantize_apply(model, "
                "scheme=keras_accq.AccumulatorQuantizeScheme())"
            )
        assert settings.input_bits is not None
        assert settings.weight_bits is not None
        acc_bits = None if settings.exclude else settings.acc_bits
        return Operands(
            acc_bits, settings.input_bits, settings.weight_bits, settings.tile, depthwise=depthwise
        )

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The kernel and its quantizer.

        Raises:
            ValueError: A layer without dot products; or no scheme has decided the widths.
        """
        if not is_compute(layer):
            raise ValueError(
                f"AccumulatorQuantizeConfig of layer {layer.name!r}: {type(layer).__name__} is not "
                f"supported; expected one of {', '.join(_KERNELS)}"
            )
        name = type(layer).__name__
        quantizer = AccumulatorWeightQuantizer(
            self, name == "DepthwiseConv2D", name == "Conv2DTranspose"
        )
        return [(getattr(layer, _KERNELS[name]), quantizer)]

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None: see the class."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Gives the layer s·q for its kernel."""
        (kernel,) = quantize_weights
        setattr(layer, _KERNELS[type(layer).__name__], kernel)

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing: see the class."""
        del layer, quantize_activations

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """None: see the class."""
        return []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "acc_bits": self.settings.acc_bits,
            "weight_bits": self.settings.weight_bits,
            "input_bits": self.settings.input_bits,
            "tile": self.settings.tile,
            "method": self.method.name,
            "exclude": self.settings.exclude,
            "preserve_sparsity": self.preserve_sparsity,
            "method_options": self.method.get_config(),
            "widths_from": self.widths_from,
            "power_of_two": self.power_of_two,
        }

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.get_config() == self.get_config()

    def __hash__(self) -> int:
        return hash(str(self.get_config()))


@_registered
class AccumulatorQuantizeWrapper(tfmot.quantization.keras.QuantizeWrapperV2):
    """tfmot's wrapper around a layer with dot products, and the loss of the method's penalty."""

    def __init__(self, layer: Any, quantize_config: Any, **kwargs: Any) -> None:
        # The layer's own policy, not the one in force now.
        kwargs.setdefault("dtype", layer._dtype_policy)
        super().__init__(layer, quantize_config, **kwargs)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.quantize_config.method.regularization > 0:
            self.add_loss(lambda: self.weight_quantizer.penalty(self.variable, self.parameters))

    @property
    def weight_quantizer(self) -> AccumulatorWeightQuantizer:
        quantizer: AccumulatorWeightQuantizer = self._weight_vars[0][1]
        return quantizer

    @property
    def variable(self) -> Any:
        """The kernel's variable: the layer's own attribute holds s·q once it was called."""
        return self._weight_vars[0][0]

    @property
    def parameters(self) -> dict[str, Any]:
        """The quantizer's weights, by name."""
        values: dict[str, Any] = self._weight_vars[0][2]
        return values

    @property
    def losses(self) -> Any:
        # tfmot's wrappers leave out what was added as a function.
        return tf_keras.layers.Layer.losses.fget(self)

    def parameters_without_decay(self) -> list[Any]:
        """The variables that weight decay must leave alone: scales, norms and the bias."""
        bias = [] if self.layer.bias is None else [self.layer.bias]
        return [self.parameters[name] for name in self.quantize_config.method.parameters] + bias
