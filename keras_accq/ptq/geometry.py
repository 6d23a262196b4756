"""A Keras layer's weights and inputs in the shapes that the solvers take."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_accq.errors import UnsupportedModelError
from keras_accq.layers.kernels import from_matrix, is_depthwise, to_matrix
from keras_accq.ptq.patches import TransposedWindow, Window, patches

FloatArray = NDArray[np.float64]

# Patches are made of so many numbers at a time, at most (of one example, at least).
_NUMBERS = 1 << 22


class Geometry:
    """How a layer's dot products lie in its tensors.

    Args:
        layer: A built compute layer, quantized or not.

    Raises:
        UnsupportedModelError: A layer whose inputs `patches` does not know how to cut.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._window: Window | TransposedWindow | None = None
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            self._window = Window(
                tuple(layer.kernel_size),
                tuple(layer.strides),
                tuple(layer.dilation_rate),
                layer.padding,
                int(layer.kernel.shape[-2]) if is_depthwise(layer) else layer.groups,
            )
        elif isinstance(layer, keras.layers.Conv1D):
            # An image of height 1.
            self._window = Window(
                (1, *layer.kernel_size),
                (1, *layer.strides),
                (1, *layer.dilation_rate),
                layer.padding,
                layer.groups,
            )
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            self._window = TransposedWindow(
                layer.kernel_size, layer.strides, layer.padding, layer.output_padding
            )
        elif not isinstance(layer, keras.layers.Dense):
            raise UnsupportedModelError(
                f"{layer.name}: method 'axe' does not take {type(layer).__name__}; give the layer "
                "another method with overrides"
            )

    @property
    def groups(self) -> int:
        """Groups of channels with inputs of their own."""
        return 1 if self._window is None else self._window.groups

    @property
    def overlap(self) -> float:
        """How many of the vectors each input is in."""
        if self._window is None:
            return 1.0
        taps = float(np.prod(self._window.kernel))
        if isinstance(self._window, TransposedWindow):
            return taps
        return max(1.0, taps / float(np.prod(self._window.strides)))

    def grouped(self, kernel: NDArray[Any]) -> FloatArray:
        """An array in the kernel's layout as float64 [groups, K, channels], K in file order."""
        matrix = to_matrix(self._layer, np.asarray(kernel, np.float64))
        split: FloatArray = matrix.reshape(len(matrix), self.groups, -1).transpose(1, 0, 2)
        return split

    def kernel(self, grouped: FloatArray) -> FloatArray:
        """The opposite of `grouped`."""
        matrix = grouped.transpose(1, 0, 2).reshape(grouped.shape[1], -1)
        found: FloatArray = from_matrix(self._layer, matrix)
        return found

    def vectors(self, *inputs: NDArray[Any]) -> Iterator[tuple[FloatArray, ...]]:
        """The vectors that the weights meet in batches of inputs, some examples at a time.

        Args:
            *inputs: Batches of the layer's input tensor, of one shape.

        Yields:
            For each of them float64 [groups, vectors, K].
        """
        numbers = int(np.prod(inputs[0].shape[1:]))
        if self._window is not None:
            numbers *= int(np.prod(self._window.kernel))
        if isinstance(self._window, TransposedWindow):
            numbers *= int(np.prod(self._window.strides))
        step = max(1, _NUMBERS // max(numbers, 1))
        for start in range(0, len(inputs[0]), step):
            yield tuple(
                patches(self._as_taken(batch[start : start + step]), self._window)
                for batch in inputs
            )

    def _as_taken(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Inputs with the axes that `patches` expects."""
        if isinstance(self._layer, keras.layers.Conv1D):
            return batch[:, None]
        if self._window is None:
            return batch.reshape(-1, batch.shape[-1])
        return batch
