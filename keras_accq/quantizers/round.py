"""Rounding to nearest, with integers lowered where they do not fit: a baseline."""

from typing import ClassVar

import keras

from keras_accq.quantizers.rounded import Rounded


@keras.saving.register_keras_serializable(package="keras_accq")
class Round(Rounded):
    """The method "round": the nearest integers, lowered where least harmful until they fit."""

    name: ClassVar[str] = "round"
