"""What the pages of docs/ take as given: small stand-ins for a reader's model, data and files.

Tutorials and the README need none of it but `any.tflite`; the reference pages speak of `model`,
`x_cal` and the like without making them. Every page starts from a fresh copy, in an empty folder.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tflite_models

import keras_accq as accq
from keras_accq.recipe import Provenance, Recipe

# Long runs are cut short: what is checked is that the code works.
SHORTER = {"epochs=10": "epochs=1", "epochs=20": "epochs=1", "time_limit=600": "time_limit=1"}
_TF_KERAS_PAGES = ("tfmot.md",)


def files(folder: Path) -> None:
    """Writes the `.tflite` files and samples that pages name."""
    model = tflite_models.residual(np.random.default_rng(0))
    for name in ("any", "any_int8", "int8", "model"):
        (folder / f"{name}.tflite").write_bytes(model)
    shape = tflite_models.unpack(model).subgraphs[0].tensors[0].shape
    samples = np.random.default_rng(1).integers(-128, 128, (3, *shape[1:])).astype(np.int8)
    np.save(folder / "images.npy", samples)
    accq.rewrite(folder / "model.tflite", folder / "model16.tflite")
    for name in ("old", "new"):
        Recipe("m", "free", (), (), Provenance("test", "0")).save(folder / f"{name}.json")


def names(page: str, folder: Path) -> dict[str, Any]:
    """The variables that a page of docs/ uses and does not make."""
    if page in _TF_KERAS_PAGES:
        import tf_keras as keras
    else:
        import keras

    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    x = rng.uniform(0, 255, (64, 8, 8, 1)).astype(np.float32)
    y = (x.mean(axis=(1, 2, 3)) > 127.5).astype(np.int32)
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    z = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(1 / 255)(inputs))
    z = layers.ReLU()(layers.BatchNormalization()(z))
    outputs = layers.Dense(3, activation="softmax")(layers.Flatten()(z))
    model = keras.Model(inputs, outputs)
    given: dict[str, Any] = {
        "accq": accq,
        "keras": keras,
        "np": np,
        "model": model,
        "layer": layers.Dense(3),
        "x": x,
        "y": y,
        "x_cal": x,
        "calibration_images": x,
        "x_val": x[:16],
        "y_val": y[:16],
        "loss": "sparse_categorical_crossentropy",
        "evaluate": Agreement(x[:16], y[:16]),
        "samples": np.load(folder / "images.npy"),
    }
    if page == "recipes.md":
        given["other"] = accq.recipe_of(accq.quantize(model, 14, calibration_data=x))
    if page in ("android.md", "backends.md"):
        given["qmodel"] = accq.quantize(model, 16, calibration_data=x)
    if page == "backends.md":
        import tensorflow

        given["tf"] = tensorflow
    return given


@contextlib.contextmanager
def around(page: str) -> Iterator[dict[str, Any]]:
    """What must be running while a page's code is; its variables."""
    if page != "search.md":
        yield {}
        return
    from dask.distributed import LocalCluster, default_client

    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        yield {"address": cluster.scheduler_address}
        default_client().close()


class Agreement:
    """Accuracy of a Keras model, as a search wants it: can be pickled."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __call__(self, model: Any) -> float:
        return float(np.mean(np.argmax(model.predict(self.x, verbose=0), axis=1) == self.y))
