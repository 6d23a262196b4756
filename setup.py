"""Builds the delegate with CMake into the package. Everything else is in setup.cfg."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

SOURCES = Path(__file__).resolve().parent / "tflite_kernels"
PACKAGE_FOLDER = Path("keras_accq", "lib")
LIBRARY = "libaccq_delegate.so"
# Why there is no library, for the error text of keras_accq.delegate_path().
REASON_FILE = "not_built.txt"


def missing_tools() -> str | None:
    """What keeps the delegate from being built on this machine, or None."""
    if not sys.platform.startswith("linux"):
        return f"keras-accq builds its delegate on Linux only, and this is {sys.platform}"
    missing = []
    if not shutil.which("cmake"):
        missing.append("CMake (cmake)")
    # With one of these the choice is the user's, and CMake says what is wrong with it.
    chosen = {"CXX", "CMAKE_TOOLCHAIN_FILE"} & set(os.environ)
    if not chosen and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        missing.append("a C++17 compiler (c++, g++ or clang++)")
    if not any(map(shutil.which, ("ninja", "make", "gmake"))):
        missing.append("ninja or make")
    if not missing:
        return None
    return f"missing when keras-accq was installed: {', '.join(missing)}"


class BuildDelegate(Command):
    """Configure, build and copy the delegate; or write down why that was not possible.

    Missing tools do not stop an installation, since everything but inference through the
    delegate works without it. A build that fails with the tools present is an error.
    """

    description = "build the TFLite delegate with CMake"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []
    # Set by setuptools for `pip install -e`: then the library goes into the source tree.
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_lib = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def run(self) -> None:
        folder = SOURCES.parent / PACKAGE_FOLDER if self.editable_mode else self._built_folder()
        shutil.rmtree(folder, ignore_errors=True)  # an older result of the other kind
        folder.mkdir(parents=True)
        reason = missing_tools()
        if reason is None:
            self._build(folder / LIBRARY)
        else:
            (folder / REASON_FILE).write_text(reason + "\n", encoding="utf-8")
            self.warn(f"keras-accq is installed WITHOUT inference through its delegate: {reason}")

    def _build(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="keras-accq-build-") as temporary:
            # A newer compiler's new warnings are no reason not to install.
            options = ["-DCMAKE_BUILD_TYPE=Release", "-DACCQ_WERROR=OFF"]
            configure = ["cmake", "-S", str(SOURCES), "-B", temporary, *options]
            if "CMAKE_GENERATOR" not in os.environ and shutil.which("ninja"):
                configure += ["-G", "Ninja"]
            compile_ = ["cmake", "--build", temporary, "--target", "accq_delegate"]
            if "CMAKE_BUILD_PARALLEL_LEVEL" not in os.environ:
                # Two compilers at a time: any machine has the memory for that.
                compile_ += ["--parallel", "2"]
            subprocess.run(configure, check=True)
            subprocess.run(compile_, check=True)
            (built,) = Path(temporary).rglob(LIBRARY)
            shutil.copy2(built, target)

    def _built_folder(self) -> Path:
        return Path(self.build_lib) / PACKAGE_FOLDER

    # The rest is setuptools' protocol for sub-commands of build.
    def get_outputs(self) -> list[str]:
        return [str(self._built_folder() / LIBRARY)]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        root = SOURCES.parent
        return [str(path.relative_to(root)) for path in SOURCES.rglob("*") if path.is_file()]


class BuildOutsideTheTree(build):
    """`build` in a temporary folder, with the delegate as a sub-command.

    setuptools' own choice, build/ in the checkout, would also carry files that were since
    deleted from the sources into the next wheel.
    """

    sub_commands: ClassVar = [*build.sub_commands, ("build_delegate", None)]

    def initialize_options(self) -> None:
        super().initialize_options()
        self._temporary = tempfile.TemporaryDirectory(prefix="keras-accq-wheel-")
        self.build_base = self._temporary.name


class PlatformWheel(bdist_wheel):
    """The library uses nothing of Python, so one wheel serves every Python 3 of a platform."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class PlatformDistribution(Distribution):
    """Holds a compiled library, although no Python extension module."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    distclass=PlatformDistribution,
    cmdclass={
        "build": BuildOutsideTheTree,
        "build_delegate": BuildDelegate,
        "bdist_wheel": PlatformWheel,
    },
)
