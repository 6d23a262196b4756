"""A small classifier and data for tests of the search. Imported by worker processes too."""

import keras
import numpy as np

L = keras.layers


def model() -> keras.Model:
    """Two layers of random weights, the second with a batch normalization."""
    inputs = keras.Input((12,), name="x")
    x = L.Dense(16, activation="relu", name="first")(inputs)
    x = L.BatchNormalization(name="norm")(L.Dense(12, name="second")(x))
    outputs = L.Dense(5, name="third")(L.ReLU(name="relu")(x))
    network = keras.Model(inputs, outputs, name="small")
    rng = np.random.default_rng(0)
    for layer in network.layers:
        layer.set_weights(
            [
                abs(rng.normal(size=w.shape))
                if "norm" in layer.name
                else rng.normal(size=w.shape) / 3
                for w in layer.get_weights()
            ]
        )
    return network


def data(count: int = 200) -> np.ndarray:
    """float32 [count, 12]."""
    return np.random.default_rng(1).normal(size=(count, 12)).astype(np.float32)


def evaluate(network: keras.Model) -> float:
    """A metric of one's own that is no tie: minus the mean of the largest output."""
    return -float(network.predict(data(50), verbose=0).max(axis=1).mean())


def fail(network: keras.Model) -> float:
    """A metric that breaks."""
    raise RuntimeError("no such luck")


def die(network: keras.Model) -> float:
    """Ends the worker's process."""
    import os

    os._exit(3)
