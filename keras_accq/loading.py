"""Loading saved quantized models."""

import os
from typing import Any

import keras

# Registers the layers, by which Keras finds them.
import keras_accq.layers  # noqa: F401


def load_model(path: str | os.PathLike[str], **kwargs: Any) -> Any:
    """A `.keras` file's model; like `keras.models.load_model`, whatever was imported before.

    Args:
        path: The file.
        **kwargs: For `keras.models.load_model`.
    """
    return keras.models.load_model(path, **kwargs)
