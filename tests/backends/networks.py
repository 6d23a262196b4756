"""Networks and data that are the same on every backend, whose random numbers differ."""

import gzip
import os
from pathlib import Path
from typing import Any

import keras
import keras_models
import numpy as np
import pytest
from sklearn.datasets import load_digits

L = keras.layers
METHODS = ("a2q", "a2q+", "a2q_unsigned", "axe", "round", "type_bound")
ACC_BITS = 18  # Enough for what type_bound is given.


def images(count: int = 64, seed: int = 1) -> np.ndarray:
    """float32 [count, 8, 8, 3] in 0..1."""
    return np.random.default_rng(seed).random((count, 8, 8, 3)).astype(np.float32)


def labels(count: int = 64) -> np.ndarray:
    """Integers in 0..4."""
    return np.arange(count) % 5


def small() -> keras.Model:
    """Conv -> BN -> ReLU, a depthwise convolution, a skip connection, pooling and Dense."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = L.ReLU(name="relu")(L.BatchNormalization(name="norm")(x))
    y = L.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = L.AveragePooling2D(2, name="pool")(L.Add(name="sum")([x, y]))
    x = L.Dense(5, name="logits")(L.Flatten(name="flatten")(x))
    return keras_models.randomized(keras.Model(inputs, x, name="small"))


def attending() -> keras.Model:
    """A block of a transformer, over rows of images, and Dense."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = L.Dense(16, name="embed")(L.Reshape((8, 24), name="rows")(inputs))
    y = L.LayerNormalization(name="norm1")(x)
    x = L.Add(name="sum1")([x, L.MultiHeadAttention(2, 8, name="attention")(y, y)])
    y = L.Dense(32, activation="gelu", name="wide")(L.LayerNormalization(name="norm2")(x))
    x = L.Add(name="sum2")([x, L.Dense(16, name="narrow")(y)])
    x = L.Dense(5, name="logits")(L.GlobalAveragePooling1D(name="pool")(x))
    return keras_models.randomized(keras.Model(inputs, x, name="attending"))


def classifier(side: int) -> keras.Model:
    """For grey images in 0..255 of ten kinds; initial weights from NumPy's random numbers."""
    inputs = keras.Input((side, side, 1), name="image")
    x = L.Rescaling(1 / 255, name="rescale")(inputs)
    x = L.Conv2D(16, 3, padding="same", use_bias=False, name="conv1")(x)
    x = L.ReLU(name="relu1")(L.BatchNormalization(name="norm1")(x))
    x = L.MaxPooling2D(name="pool1")(x)
    x = L.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(x)
    x = L.MaxPooling2D(name="pool2")(x)
    x = L.Dense(10, name="logits")(L.Flatten(name="flatten")(x))
    return _initialized(keras.Model(inputs, x, name="classifier"))


def _initialized(model: Any, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            fan = np.prod(layer.kernel.shape[:-1])
            kernel = random.normal(0, np.sqrt(2 / fan), layer.kernel.shape)
            layer.set_weights([kernel, *layer.get_weights()[1:]])
    return model


def real_data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, and test images and labels; images float32 in 0..255.

    Of "fashion", 3,000 and 2,000, which is enough to compare predictions.
    """
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        x = (x.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.float32)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order], y[order]
        return x[:1400], y[:1400], x[1400:], y[1400:]
    folder = Path(os.environ.get("ACCQ_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
    if not folder.is_dir():
        # In CI nothing may be skipped unseen.
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(f"no {folder}: apt-get install dataset-fashion-mnist, or set ACCQ_FASHION_MNIST")
    arrays = [
        _idx(folder / f"{part}-{kind}-ubyte.gz")
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    x, y, x_test, y_test = arrays
    x, x_test = (part[..., None].astype(np.float32) for part in (x[:3000], x_test[:2000]))
    return x, y[:3000], x_test, y_test[:2000]


def _idx(path: Path) -> np.ndarray:
    """An array of MNIST's format: bytes behind a header of the sizes."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
