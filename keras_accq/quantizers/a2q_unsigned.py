"""A2Q for unsigned inputs, as its paper counts them: a baseline."""

from typing import ClassVar

import keras

from keras_accq.quantizers.a2q import A2Q
from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.rounding import Truncated


@keras.saving.register_keras_serializable(package="keras_accq")
class A2QUnsigned(A2Q):
    """The method "a2q_unsigned": A2Q with the budget of unsigned inputs, T = L / 2^N.

    That is equation 9 of arXiv 2308.13504 for activations after a ReLU. Stored centred, as all
    inputs are here, they allow twice as much (`A2Q`); this method is there to compare with.

    Args:
        regularization: As in `A2Q`.

    Raises:
        ValueError: As in `A2Q`.
    """

    name: ClassVar[str] = "a2q_unsigned"

    def rounding(self, depthwise: bool = False) -> Truncated:
        """See `Method.rounding`."""
        return Truncated(unsigned=True)

    def _radius(self, operands: Operands) -> float:
        return operands.radius / 2
