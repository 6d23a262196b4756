"""tfmot's `QuantizeScheme` for accumulator budgets: registry, and layout transform."""

from typing import Any

import numpy as np

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.supported import Kind, kind
from keras_accq.plan import realize
from keras_accq.quantize import plan_for
from keras_accq.settings import LayerSettings
from keras_accq.tfmot.config import AccumulatorQuantizeConfig, is_compute
from keras_accq.tfmot.packages import tfmot
from keras_accq.tfmot.to_keras3 import float_model
from keras_accq.tfmot.to_tf_keras import tf_keras_model


class AccumulatorQuantizeRegistry(tfmot.quantization.keras.QuantizeRegistry):
    """Which layers a config can be for, and what annotated layers without one get.

    Args:
        config: The config of layers with dot products.
    """

    def __init__(self, config: AccumulatorQuantizeConfig) -> None:
        self._config = config

    def supports(self, layer: Any) -> bool:
        """Whether a config can constrain the layer."""
        return is_compute(layer) or type(layer).__name__ == "SeparableConv2D"

    def get_quantize_config(self, layer: Any) -> AccumulatorQuantizeConfig | None:
        """The config; None for a layer without dot products, which follows its neighbours."""
        return self._config if self.supports(layer) else None


class AccumulatorLayoutTransform(tfmot.quantization.keras.QuantizeLayoutTransform):
    """Wraps the layers with dot products, and adds activation quantizers, one per scale group.

    Conv2D -> BatchNormalization -> ReLU, Add -> ReLU and their like get one quantizer, behind the
    last of them, as they become one operator.
    """

    def __init__(self, registry: AccumulatorQuantizeRegistry, options: dict[str, Any]) -> None:
        self._registry = registry
        self._options = options

    def apply(self, model: Any, layer_quantize_map: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The quantized model; nothing in it is left for tfmot to wrap.

        Args:
            model: The float tf_keras model.
            layer_quantize_map: By name of each annotated layer, {"quantize_config": config or
                None}.

        Raises:
            UnsupportedModelError: A config for a layer without dot products; a config of another
                kind; layers that can not be quantized.
        """
        configs = self._configs(model, layer_quantize_map)
        excluded = LayerSettings(exclude=True)

        def settings(names: list[str]) -> dict[str, LayerSettings]:
            found = {name: _of_layer(configs, name) for name in names}
            return {
                name: excluded if config is None else config.settings
                for name, config in found.items()
            }

        plan = plan_for(float_model(model), settings, **self._options)
        masks = {}
        for node in plan.graph.nodes:
            config = _of_layer(configs, node.name)
            if kind(node.layer) is Kind.COMPUTE and config and config.preserve_sparsity:
                masks[node.name] = (np.array(node.layer.kernel) != 0).astype(np.float32)
        return tf_keras_model(realize(plan), model, masks), {}

    def _configs(self, model: Any, annotated: dict[str, Any]) -> dict[str, Any]:
        """The config of each layer that is to be constrained."""
        configs, problems = {}, []
        for layer in model.layers:
            if layer.name not in annotated:
                continue
            given = annotated[layer.name].get("quantize_config")
            if given is None:
                given = self._registry.get_quantize_config(layer)
            elif not isinstance(given, AccumulatorQuantizeConfig):
                problems.append(
                    f"  {layer.name}: {type(given).__name__}; expected AccumulatorQuantizeConfig, "
                    "or none"
                )
            elif not self._registry.supports(layer):
                problems.append(
                    f"  {layer.name}: AccumulatorQuantizeConfig for {type(layer).__name__}, which "
                    "has no dot products; annotate it without a config, or not at all"
                )
            if given is not None:
                configs[layer.name] = given
        if problems:
            raise UnsupportedModelError(
                f"model {model.name!r} can not be quantized:\n" + "\n".join(problems)
            )
        if all(config.settings.exclude for config in configs.values()):
            raise UnsupportedModelError(
                f"model {model.name!r}: no layer with dot products is annotated, which leaves "
                "nothing to constrain"
            )
        return configs


def _of_layer(configs: dict[str, Any], name: str) -> Any:
    """The config of a layer, or of what it is a part of: "sep-depthwise" is one of "sep"."""
    while name not in configs:
        name, _, part = name.rpartition("-")
        if not part or not name:
            return None
    return configs[name]


class AccumulatorQuantizeScheme(tfmot.quantization.keras.QuantizeScheme):
    """For `tfmot.quantization.keras.quantize_apply(model, scheme=...)`.

    The file holds integers only, so layers that are not annotated are quantized too: to 8 bits,
    with no constraint.

    Args:
        config: For annotated layers without one; by default `AccumulatorQuantizeConfig()`.
        calibration_data: As for `accq.quantize`; and so are the following.
        input_range: The smallest and largest value of the model's inputs.
        activation_range: Which values the grids of activations span.
        scheme: "free" scales or "fixed_point".

    Raises:
        TypeError: The config is no `AccumulatorQuantizeConfig`.
    """

    def __init__(
        self,
        config: AccumulatorQuantizeConfig | None = None,
        *,
        calibration_data: Any = None,
        input_range: Any = None,
        activation_range: str = "mse",
        scheme: str = "free",
    ) -> None:
        if config is None:
            config = AccumulatorQuantizeConfig()
        if not isinstance(config, AccumulatorQuantizeConfig):
            raise TypeError(
                f"AccumulatorQuantizeScheme: expected an AccumulatorQuantizeConfig, received "
                f"{config!r}"
            )
        self._registry = AccumulatorQuantizeRegistry(config)
        self._options = {
            "calibration_data": calibration_data,
            "input_range": input_range,
            "activation_range": activation_range,
            "scheme": scheme,
        }

    def get_layout_transformer(self) -> AccumulatorLayoutTransform:
        """What builds the quantized model."""
        return AccumulatorLayoutTransform(self._registry, self._options)

    def get_quantize_registry(self) -> AccumulatorQuantizeRegistry:
        """Which layers a config can be for."""
        return self._registry
