"""Tests that run once on each backend of Keras: `python tests/run_all.py backends`.

`ACCQ_BACKENDS` names the folder in which the runs leave their models and results for the last one,
on TensorFlow, which compares and converts them. Other runs of pytest leave these tests out.
"""

import os
from pathlib import Path

import pytest

_FOLDER = os.environ.get("ACCQ_BACKENDS")
_BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")

collect_ignore_glob = ["test_*.py"] if _FOLDER is None else []
if _BACKEND != "tensorflow":
    collect_ignore_glob += ["test_across.py", "test_tf_keras.py"]

if _FOLDER is not None:
    # Two devices, before either framework looks for them.
    if _BACKEND == "jax":
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last what reads the results of the others."""
    items.sort(key=lambda item: item.path.name == "test_across.py")


@pytest.fixture(scope="session")
def exchange() -> Path:
    """The folder that all backends write to."""
    assert _FOLDER is not None
    return Path(_FOLDER)


@pytest.fixture(scope="session")
def backend() -> str:
    """The backend that Keras runs on."""
    import keras

    assert keras.backend.backend() == _BACKEND
    return _BACKEND


@pytest.fixture(scope="session")
def mirrored():
    """TensorFlow's strategy for two devices: a second one would use the first one's channels."""
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    return strategy
