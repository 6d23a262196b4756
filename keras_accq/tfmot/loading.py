"""Loading saved quantized models of tf_keras."""

import os
from typing import Any

# Registers the layers and configs, by which tf_keras finds them.
import keras_accq.tfmot.config
import keras_accq.tfmot.layers  # noqa: F401
from keras_accq.tfmot.packages import tf_keras, tfmot


def load_tf_keras(path: str | os.PathLike[str], **kwargs: Any) -> Any:
    """`tf_keras.models.load_model` within tfmot's scope."""
    with tfmot.quantization.keras.quantize_scope():
        return tf_keras.models.load_model(os.fspath(path), **kwargs)
