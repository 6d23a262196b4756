"""Fixtures shared by all tests: the two C++ libraries.

`ACCQ_DELEGATE` and `ACCQ_TESTING` name libraries that are built already. Without them the
fixtures build both from `tflite_kernels` with CMake, once, outside the source tree.
"""

import os
from pathlib import Path

import hypothesis
import native_build
import pytest

# Deadlines are wall time, and this machine may be busy. The parent is Hypothesis's own choice,
# which in CI does not draw at random.
hypothesis.settings.register_profile("patient", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")


def _build(target: str, reason: str) -> Path:
    try:
        folder = native_build.build("release", ["-DACCQ_BUILD_TESTS=ON"], [target])
    except native_build.ToolsMissing as error:
        # On a developer's machine a reason to skip; in CI nothing may be skipped unseen.
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(f"{reason}: {error}")
    return native_build.find(folder, f"lib{target}.so")


@pytest.fixture(scope="session")
def delegate_library() -> Path:
    """The delegate under test; `accq.Interpreter` uses it in any test that asks for this."""
    if "ACCQ_DELEGATE" not in os.environ:
        if not native_build.SOURCES.is_dir():  # testing an installed package
            from keras_accq import delegate_path

            return Path(delegate_path())
        os.environ["ACCQ_DELEGATE"] = str(_build("accq_delegate", "the delegate can not be built"))
    return Path(os.environ["ACCQ_DELEGATE"])


@pytest.fixture(scope="session")
def testing_library() -> Path:
    """The shared library with the kernels' C API for tests."""
    if "ACCQ_TESTING" not in os.environ:
        os.environ["ACCQ_TESTING"] = str(_build("accq_testing", "the kernels can not be built"))
    return Path(os.environ["ACCQ_TESTING"])
