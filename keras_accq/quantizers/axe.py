"""AXE, accumulator-aware post-training quantization (arXiv 2409.17092): the method's options."""

from typing import ClassVar, Literal

import keras

from keras_accq.quantizers.rounded import Rounded


@keras.saving.register_keras_serializable(package="keras_accq")
class AXE(Rounded):
    """The method "axe": integers from calibration data, by a greedy solver within the budget.

    Args:
        algorithm: The solver: "optq" or "gpfq".
        order: In which order weights are quantized: "activation", largest input energy first, or
            "file".
        scale_search: Search each channel's weight scale with the budget in view.
        soft: Pull weights toward the budget before the strict limit has to.
        compensate: Whether a layer makes up for what the layers before it did to its inputs:
            "none": it aims at what the float weights make of those inputs (as OPTQ does); "all":
            at the float model's output (as GPFQ does); "lasting": at as much of the way from the
            one to the other as calibration data can tell from noise.
        sweeps: How often coordinate descent may go through a layer's weights after the solver; 0
            for the solver alone.
        equalize: Equalize scales across layers first.
        bias_correction: Correct biases by the mean output error afterwards.
        reestimate_batchnorm: Measure batch normalization's statistics anew afterwards.

    Raises:
        ValueError: An unknown algorithm, order or extent, or sweeps below 0.
        TypeError: A switch that is no bool, or sweeps that are no integer.
    """

    name: ClassVar[str] = "axe"
    post_training: ClassVar[bool] = True

    def __init__(
        self,
        algorithm: Literal["optq", "gpfq"] = "optq",
        order: Literal["activation", "file"] = "activation",
        scale_search: bool = True,
        soft: bool = True,
        compensate: Literal["none", "lasting", "all"] = "lasting",
        sweeps: int = 4,
        equalize: bool = False,
        bias_correction: bool = True,
        reestimate_batchnorm: bool = False,
    ) -> None:
        if algorithm not in ("optq", "gpfq"):
            raise ValueError(f"algorithm: expected 'optq' or 'gpfq', received {algorithm!r}")
        if order not in ("activation", "file"):
            raise ValueError(f"order: expected 'activation' or 'file', received {order!r}")
        if compensate not in ("none", "lasting", "all"):
            raise ValueError(
                f"compensate: expected 'none', 'lasting' or 'all', received {compensate!r}"
            )
        switches = {
            "scale_search": scale_search,
            "soft": soft,
            "equalize": equalize,
            "bias_correction": bias_correction,
            "reestimate_batchnorm": reestimate_batchnorm,
        }
        for name, value in switches.items():
            if not isinstance(value, bool):
                raise TypeError(f"{name}: expected a bool, received {value!r}")
        if isinstance(sweeps, bool) or not isinstance(sweeps, int):
            raise TypeError(f"sweeps: expected an integer, received {sweeps!r}")
        if sweeps < 0:
            raise ValueError(f"sweeps: expected at least 0, received {sweeps}")
        self.algorithm = algorithm
        self.order = order
        self.scale_search = scale_search
        self.soft = soft
        self.compensate = compensate
        self.sweeps = sweeps
        self.equalize = equalize
        self.bias_correction = bias_correction
        self.reestimate_batchnorm = reestimate_batchnorm
