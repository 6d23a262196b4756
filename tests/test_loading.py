import subprocess
import sys
from pathlib import Path

import keras_models
import numpy as np
import pytest

from keras_accq.loading import load_model
from keras_accq.quantize import quantize


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    quantize(keras_models.sequential(), calibration_data=keras_models.images(8)).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import keras_accq as accq; accq.load_model(path)",
        "import keras, keras_accq as accq; accq.load_model(path)",
        "import keras, keras_accq; keras.models.load_model(path)",
        "import keras_accq.layers, keras; keras.models.load_model(path)",
        "import keras_accq as accq, keras; accq.load_model; keras.models.load_model(path)",
    ],
)
def test_orders_of_import(saved: Path, code: str) -> None:
    code = f"path = {str(saved)!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_loads_what_was_saved(saved: Path) -> None:
    images = keras_models.images(8)
    first, second = (load_model(path, compile=False) for path in (saved, str(saved)))
    np.testing.assert_array_equal(
        first.predict(images, verbose=0), second.predict(images, verbose=0)
    )


def test_public_names_stay_functions() -> None:
    """Importing a submodule binds it in its package, over a function of that name."""
    code = (
        "import keras_accq as accq\n"
        "from keras_accq.verify import verify\n"
        "import keras_accq.verify\n"
        "assert accq.verify is verify and callable(verify)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
