"""Small tf_keras models for tests, and digits to train them on."""

from typing import Any

import numpy as np
import sklearn.datasets
import tf_keras

L = tf_keras.layers


def digits() -> tuple[Any, Any]:
    """float32 [1797, 8, 8, 1] in 0..1, and labels."""
    data = sklearn.datasets.load_digits()
    return (data.images[..., None] / 16).astype(np.float32), data.target


def residual(seed: int = 1) -> Any:
    """Conv -> BN -> ReLU, a depthwise convolution, a skip connection, pooling and Dense."""
    tf_keras.utils.set_random_seed(seed)
    inputs = tf_keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = L.ReLU(name="relu")(L.BatchNormalization(name="norm")(x))
    y = L.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = L.AveragePooling2D(name="pool")(L.Add(name="sum")([x, y]))
    x = L.Flatten(name="flatten")(x)
    return tf_keras.Model(inputs, L.Dense(10, name="logits")(x), name="digits")


def compiled(model: Any, rate: float = 3e-3) -> Any:
    """The model, ready to be trained on labels."""
    model.compile(
        tf_keras.optimizers.Adam(rate),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model
