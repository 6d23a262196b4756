"""tf_keras and tensorflow-model-optimization, or an error that says how to get them."""

import importlib
import importlib.metadata
from typing import Any

_TOO_NEW = (0, 9)


def _checked() -> tuple[Any, Any]:
    install = "pip install 'keras-accq[tfmot]'"
    try:
        version = importlib.metadata.version("tensorflow-model-optimization")
        keras2 = importlib.import_module("tf_keras")
    except (importlib.metadata.PackageNotFoundError, ModuleNotFoundError) as error:
        raise ImportError(
            f"tf_keras models need tf_keras and tensorflow-model-optimization: {install} ({error})"
        ) from error
    check_version(version)
    return keras2, importlib.import_module("tensorflow_model_optimization")


def check_version(version: str) -> None:
    """Refuses a tensorflow-model-optimization newer than the versions tried.

    Raises:
        ImportError: Naming the version, and what to install.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= _TOO_NEW:
        raise ImportError(
            f"tensorflow-model-optimization {version} is newer than keras-accq knows; expected "
            "0.8.x: pip install 'keras-accq[tfmot]'"
        )


def check_backend() -> None:
    """Refuses Keras 3 backends whose operations tf_keras layers can not call.

    Raises:
        ImportError: Naming the backend.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            f"tf_keras models need KERAS_BACKEND=tensorflow, this is {keras.backend.backend()!r}"
        )


tf_keras, tfmot = _checked()
check_backend()
