"""Loading saved quantized models."""

import json
import os
import zipfile
from typing import Any

import keras

# Registers the layers, by which Keras finds them.
import keras_accq.layers  # noqa: F401


def load_model(path: str | os.PathLike[str], **kwargs: Any) -> Any:
    """A saved model; like the `load_model` of its Keras, whatever was imported before.

    Args:
        path: A `.keras` or `.h5` file of Keras 3, or one of tf_keras, or a SavedModel of tf_keras,
            which need the extra `tfmot`.
        **kwargs: For the `load_model` of its Keras.
    """
    if _is_of_tf_keras(path):
        from keras_accq.tfmot.loading import load_tf_keras

        return load_tf_keras(path, **kwargs)
    return keras.models.load_model(path, **kwargs)


def _is_of_tf_keras(path: str | os.PathLike[str]) -> bool:
    """Whether the version that wrote a file is one of Keras 2; what is no such file is not."""
    if os.path.isdir(path):
        return os.path.exists(os.path.join(path, "keras_metadata.pb"))
    version: object = None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" in archive.namelist():
                version = json.loads(archive.read("metadata.json")).get("keras_version")
    elif os.path.isfile(path):
        import h5py  # type: ignore[import-untyped]

        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                version = file.attrs.get("keras_version")
    return isinstance(version, str) and version.startswith("2.")
