"""Builds the C++ code with CMake for the tests: incrementally, outside the source tree."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = REPOSITORY / "tflite_kernels"


class ToolsMissing(RuntimeError):
    """This machine has no CMake or no C++ compiler; the text says which."""


def build(configuration: str, options: Sequence[str] = (), targets: Sequence[str] = ()) -> Path:
    """Configure and build `tflite_kernels`.

    Args:
        configuration: A name for these options; each has a folder of its own, kept for the next
            run.
        options: More `-D...` arguments for CMake.
        targets: What to build; everything when empty.

    Returns:
        The build folder.

    Raises:
        ToolsMissing: CMake or a compiler is not installed.
        RuntimeError: The build failed; the text is the end of its output.
    """
    missing = [
        text
        for text, programs in (
            ("CMake", ("cmake",)),
            ("a C++ compiler", (os.environ.get("CXX", "c++"), "g++", "clang++")),
        )
        if not any(map(shutil.which, programs))
    ]
    if missing:
        raise ToolsMissing(f"{' and '.join(missing)} not found on PATH")
    folder = cache_folder() / configuration
    folder.mkdir(parents=True, exist_ok=True)
    configure = ["cmake", "-S", str(SOURCES), "-B", str(folder), *options]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    compile_ = ["cmake", "--build", str(folder), "--parallel", "2"]
    if targets:
        compile_ += ["--target", *targets]
    with open(folder / ".lock", "w") as lock:
        # Two test processes must not build in one folder at a time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, compile_):
            done = subprocess.run(
                command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-6000:]}")
    return folder


def find(folder: Path, name: str) -> Path:
    """The one file called `name` below a build folder."""
    found = list(folder.rglob(name))
    if len(found) != 1:
        raise RuntimeError(f"expected one {name} under {folder}, found {len(found)}")
    return found[0]


def cache_folder() -> Path:
    """Where this checkout's builds are kept."""
    checkout = hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"keras-accq-tests-{os.getuid()}-{checkout}"
