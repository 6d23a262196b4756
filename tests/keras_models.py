"""Small Keras models for tests. Weights are random but fixed."""

import keras
import numpy as np

L = keras.layers


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight, batch normalization's statistics included, a plausible random value."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            value = rng.normal(size=variable.shape)
            if variable.name in ("gamma", "moving_variance"):
                value = 0.5 + rng.random(variable.shape)
            elif len(variable.shape) > 1:
                value /= np.sqrt(np.prod(variable.shape[:-1]))
            else:
                value *= 0.1
            values.append(value)
        layer.set_weights(values)
    return model


def sequential() -> keras.Model:
    """Images in 0..255 to probabilities: all that a plain network has."""
    return randomized(
        keras.Sequential(
            [
                keras.Input((8, 8, 3), name="image"),
                L.Rescaling(1 / 255, name="rescale"),
                L.Conv2D(8, 3, padding="same", use_bias=False, name="conv1"),
                L.BatchNormalization(name="norm1"),
                L.ReLU(name="relu1"),
                L.MaxPooling2D(name="pool1"),
                L.Conv2D(12, 3, activation="relu", name="conv2"),
                L.AveragePooling2D((2, 1), name="pool2"),
                L.Flatten(name="flatten"),
                L.Dropout(0.2, name="dropout"),
                L.Dense(5, activation="softmax", name="dense"),
            ],
            name="plain",
        )
    )


def residual() -> keras.Model:
    """Skip connections, a concatenation, depthwise convolution and two outputs."""
    inputs = keras.Input((8, 8, 4), name="x")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(inputs)
    y = L.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    y = L.ReLU(max_value=6, name="relu6")(L.BatchNormalization(name="norm1")(y))
    y = L.BatchNormalization(name="norm2")(L.Conv2D(8, 1, name="project")(y))
    x = L.Activation("relu", name="relu")(L.Add(name="sum")([x, y]))
    x = L.Concatenate(name="concat")([x, L.Conv2D(4, 1, activation="relu", name="side")(inputs)])
    features = L.Conv2D(6, 3, name="features")(L.ZeroPadding2D(1, name="pad")(x))
    x = L.GlobalAveragePooling2D(name="mean")(features)
    logits = L.Dense(3, name="logits")(x)
    return randomized(keras.Model(inputs, {"features": features, "logits": logits}, name="res"))


def images(count: int = 64, seed: int = 1) -> np.ndarray:
    """float32 [count, 8, 8, 3], integers in 0..255."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3)).astype(np.float32)
