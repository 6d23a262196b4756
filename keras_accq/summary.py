"""What became of each layer of a quantized model, as records and as a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_accq.bounds import Partition, accumulator_limit, budget, operand_range, worst_case
from keras_accq.errors import UnsupportedModelError
from keras_accq.kerases import as_keras3

_HEADINGS = ("layer", "K", "N", "M", "P", "partition", "largest L1", "budget", "headroom", "zeros")


@dataclass(frozen=True)
class LayerSummary:
    """One quantized compute layer.

    Attributes:
        name: The layer's.
        k: Products summed per output.
        channels: Output channels.
        input_bits: N.
        weight_bits: M.
        acc_bits: P; None for a layer that is excluded from the constraint.
        partition: The cells that each have an accumulator.
        largest_norm: The largest L1 norm of a cell's integer weights, over all channels.
        budget: The largest L1 norm that always fits; None for an excluded layer.
        headroom: 1 minus the worst exact case over the accumulator's limit; None for an excluded
            layer.
        zeros: Fraction of the integer weights that are 0.
        widths_from: How M and N came about: "given", "measured" (fill rule, calibration data) or
            "assumed" (fill rule, an assumed distribution).
    """

    name: str
    k: int
    channels: int
    input_bits: int
    weight_bits: int
    acc_bits: int | None
    partition: Partition
    largest_norm: int
    budget: int | None
    headroom: float | None
    zeros: float
    widths_from: str

    @property
    def excluded(self) -> bool:
        """Whether the layer is left out of the accumulator constraint."""
        return self.acc_bits is None


@dataclass(frozen=True)
class Summary:
    """All quantized compute layers of a model, in its order; `str()` draws the table.

    Attributes:
        layers: Those with weights.
        products: Names of layers that multiply two activations, such as attention's: no weights
            bound their sums, for which files have built-ins of 32 bits.
        in_float: Names of layers that files compute in float32.
    """

    layers: tuple[LayerSummary, ...]
    products: tuple[str, ...] = ()
    in_float: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [_HEADINGS, *(_row(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
        lines = [
            "  ".join(
                cell.ljust(width) if i in (0, 5) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        if any(layer.widths_from == "assumed" for layer in self.layers):
            lines.append(
                "* N and M chosen for an assumed distribution of inputs; give calibration_data to "
                "measure it"
            )
        if self.products:
            lines.append(
                f"not bounded, products of two activations in 32 bits: {', '.join(self.products)}"
            )
        if self.in_float:
            lines.append(f"in float32: {', '.join(self.in_float)}")
        return "\n".join(lines)


def _row(layer: LayerSummary) -> tuple[str, ...]:
    mark = "*" if layer.widths_from == "assumed" else ""
    return (
        layer.name,
        str(layer.k),
        f"{layer.input_bits}{mark}",
        f"{layer.weight_bits}{mark}",
        "-" if layer.acc_bits is None else str(layer.acc_bits),
        "excluded" if layer.excluded else str(layer.partition),
        str(layer.largest_norm),
        "-" if layer.budget is None else str(layer.budget),
        "-" if layer.headroom is None else f"{layer.headroom:.1%}",
        f"{layer.zeros:.1%}",
    )


def summary(model: Any) -> Summary:
    """Widths, budgets and zeros of every compute layer of a quantized model, and what has none.

    Args:
        model: A model that `accq.quantize` returned.

    Raises:
        UnsupportedModelError: It holds no quantized layer.
        ValueError: Weights that are not finite, naming the layer.
    """
    from keras_accq.graph.supported import is_in_float
    from keras_accq.layers import ActivationProduct, QuantizedWeights

    model = as_keras3(model)
    found = getattr(model, "layers", ())
    layers = tuple(_layer(layer) for layer in found if isinstance(layer, QuantizedWeights))
    if not layers:
        raise UnsupportedModelError(
            f"expected a model that accq.quantize returned, came {type(model).__name__} "
            f"{getattr(model, 'name', '')!r} without quantized layers"
        )
    return Summary(
        layers,
        tuple(layer.name for layer in found if isinstance(layer, ActivationProduct)),
        tuple(layer.name for layer in found if is_in_float(layer)),
    )


def _layer(layer: Any) -> LayerSummary:
    from keras_accq.layers.kernels import to_matrix

    operands = layer.operands
    q = to_matrix(layer, layer.quantized_kernel()[0]).T
    low, high = operand_range(operands.input_bits)
    allowed = headroom = None
    if operands.acc_bits is not None:
        allowed = budget(operands.acc_bits, low, high)
        worst = int(worst_case(q, low, high, operands.partition).max())
        headroom = 1 - worst / accumulator_limit(operands.acc_bits)
    return LayerSummary(
        layer.name,
        q.shape[1],
        q.shape[0],
        operands.input_bits,
        operands.weight_bits,
        operands.acc_bits,
        operands.partition,
        # With inputs in [-1, 1] the worst case is the L1 norm.
        int(worst_case(q, -1, 1, operands.partition).max()),
        allowed,
        headroom,
        float(np.mean(q == 0)),
        layer.widths_from,
    )
