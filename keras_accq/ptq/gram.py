"""What a solver needs to know of a layer's inputs: second moments, gathered batch by batch.

With the columns of X̂ the inputs of the quantized layer and those of X the same inputs in the float
model, the squared error of the output, ‖wᵀX - ŵᵀX̂‖², is a function of the matrices H = X̂X̂ᵀ and
X̂Xᵀ: calibration data are read once, in batches, and memory does not grow with their number.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Second moments of a layer's inputs and outputs, divided by the number of vectors.

    The layer's channels are cut into groups, each with inputs of its own: the groups of a grouped
    convolution, the channels of a depthwise one; otherwise there is one group.

    Attributes:
        gram: H, float64 [groups, K, K]: X̂X̂ᵀ.
        cross: G, float64 [groups, K, K]: X̂Xᵀ, for GPFQ; None if it was not asked for.
        target: float64 [groups, K, channels]: X̂(wᵀX)ᵀ.
        energy: float64 [groups, channels]: ‖wᵀX‖².
        input_mean: float64 [groups, K], of X̂.
        float_input_mean: float64 [groups, K], of X.
        output_mean: float64 [groups, channels], of wᵀX.
        independent: How many vectors had inputs of their own.
    """

    gram: FloatArray
    cross: FloatArray | None
    target: FloatArray
    energy: FloatArray
    input_mean: FloatArray
    float_input_mean: FloatArray
    output_mean: FloatArray
    independent: float

    def centred(self) -> "Moments":
        """About the means: the error that is left when the bias takes up the mean error."""
        mean, output = self.input_mean, self.output_mean
        cross = self.cross
        if cross is not None:
            cross = cross - mean[:, :, None] * self.float_input_mean[:, None, :]
        return replace(
            self,
            gram=self.gram - mean[:, :, None] * mean[:, None, :],
            cross=cross,
            target=self.target - mean[:, :, None] * output[:, None, :],
            # A difference of nearly equal numbers can end up below 0.
            energy=np.maximum(self.energy - output**2, 0.0),
            input_mean=np.zeros_like(mean),
            float_input_mean=np.zeros_like(mean),
            output_mean=np.zeros_like(output),
        )

    def errors(self, weights: FloatArray) -> FloatArray:
        """The mean squared error of the layer's outputs with other weights, by channel.

        Args:
            weights: ŵ, float64 [groups, K, channels].

        Returns:
            float64 [groups, channels].
        """
        crossed = self.gram @ weights
        crossed -= 2 * self.target
        crossed *= weights
        return np.maximum(self.energy + crossed.sum(axis=1), 0.0)

    def mean_error(self, weights: FloatArray) -> FloatArray:
        """The mean of wᵀX - ŵᵀX̂, float64 [groups, channels]: what a bias can take up."""
        return self.output_mean - (self.input_mean[:, None, :] @ weights)[:, 0]


class Gram:
    """Gathers `Moments`.

    Args:
        weights: The float layer's, w: float [groups, K, channels].
        cross: Whether G is needed.
        overlap: How many vectors each input is in: several where windows overlap.
    """

    def __init__(self, weights: ArrayLike, *, cross: bool, overlap: float = 1.0) -> None:
        self._weights = np.asarray(weights, np.float64)
        groups, k, channels = self._weights.shape
        self._overlap = overlap
        self._vectors = 0
        self._gram = np.zeros((groups, k, k))
        self._cross = np.zeros((groups, k, k)) if cross else None
        self._target = np.zeros((groups, k, channels))
        self._energy = np.zeros((groups, channels))
        self._input_sum = np.zeros((groups, k))
        self._float_input_sum = np.zeros((groups, k))

    def add(self, quantized: FloatArray, floats: FloatArray) -> None:
        """Adds a batch.

        Args:
            quantized: Inputs of the quantized layer, float64 [groups, vectors, K].
            floats: The same inputs in the float model.

        Raises:
            ValueError: Another shape than the weights'.
        """
        groups, k, _ = self._weights.shape
        shape = quantized.shape
        if shape != floats.shape or len(shape) != 3 or shape[::2] != (groups, k):
            raise ValueError(
                f"expected two arrays of shape [{groups}, vectors, {k}], received "
                f"{quantized.shape} and {floats.shape}"
            )
        self._vectors += shape[1]
        inputs = quantized.transpose(0, 2, 1)
        outputs = floats @ self._weights
        self._gram += inputs @ quantized
        if self._cross is not None:
            self._cross += inputs @ floats
        self._target += inputs @ outputs
        self._energy += (outputs**2).sum(axis=1)
        self._input_sum += quantized.sum(axis=1)
        self._float_input_sum += floats.sum(axis=1)

    def moments(self) -> Moments:
        """All that was gathered; the object must not be used after.

        Raises:
            ValueError: Nothing was.
        """
        if not self._vectors:
            raise ValueError("expected at least one vector of inputs, received none")
        output_sum = (self._float_input_sum[:, None, :] @ self._weights)[:, 0]
        for total in (self._gram, self._cross, self._target, self._energy):
            if total is not None:
                total /= self._vectors
        return Moments(
            self._gram,
            self._cross,
            self._target,
            self._energy,
            self._input_sum / self._vectors,
            self._float_input_sum / self._vectors,
            output_sum / self._vectors,
            self._vectors / self._overlap,
        )
