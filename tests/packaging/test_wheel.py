"""What a wheel and an sdist hold, with and without the tools to build the delegate."""

import ctypes
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from native_build import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (REPOSITORY / "setup.py").exists(), reason="tests an installed package, no sources"
    ),
]


def _pip_wheel(source, folder, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the files that git would give to somebody else, to build in and to break."""
    folder = tmp_path_factory.mktemp("sources") / "keras-accq"
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, listing.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target)
    return folder


@pytest.fixture(scope="module")
def sdist(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "build", "--sdist", "--outdir", folder, sources]
    subprocess.run(command, check=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """A wheel built from the sdist: shows that the sdist lacks nothing."""
    folder = tmp_path_factory.mktemp("wheel")
    status, output = _pip_wheel(sdist, folder)
    assert status == 0, output
    (path,) = folder.iterdir()
    return path


def _path_without(tools, folder):
    """A PATH on which every program but `tools` is found."""
    for entry in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(entry).glob("*"):
            link = folder / program.name
            if program.name not in tools and not link.exists():
                link.symlink_to(program)
    return str(folder)


def test_wheel_is_for_any_python_3_of_the_platform(wheel):
    python, abi, platform = wheel.stem.split("-")[2:]
    assert (python, abi) == ("py3", "none")
    assert platform != "any"


def test_wheel_holds_the_package_and_the_library_only(wheel, sources):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(f.relative_to(sources)) for f in (sources / "keras_accq").rglob("*.py")}
    assert modules <= names
    extra = {n for n in names - modules if ".dist-info/" not in n}
    assert extra == {"keras_accq/lib/libaccq_delegate.so", "keras_accq/py.typed"}


def test_the_library_of_the_wheel_loads(wheel, tmp_path):
    path = zipfile.ZipFile(wheel).extract("keras_accq/lib/libaccq_delegate.so", tmp_path)
    library = ctypes.CDLL(path)
    assert library.tflite_plugin_create_delegate
    assert library.tflite_plugin_destroy_delegate


def test_sdist_holds_what_a_build_and_the_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {n.split("/", 1)[1] for n in archive.getnames() if "/" in n}
    assert {
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "setup.cfg",
        "setup.py",
        "tests/conftest.py",
        "tests/run_all.py",
        "tflite_kernels/CMakeLists.txt",
        "tflite_kernels/kernels/op.h",
    } <= names
    assert not [n for n in names if n.endswith((".so", ".pyc"))]


def test_a_build_leaves_no_build_tree_in_the_sources(sources, tmp_path):
    before = {p.name for p in sources.iterdir()}
    status, output = _pip_wheel(sources, tmp_path)
    assert status == 0, output
    assert {p.name for p in sources.iterdir()} - before <= {"keras_accq.egg-info"}
    assert not (sources / "keras_accq" / "lib").exists()


def test_without_cmake_the_package_installs_and_says_what_is_off(sources, tmp_path):
    hidden = {"cmake", "cmake3"}
    (tmp_path / "bin").mkdir()
    status, output = _pip_wheel(
        sources, tmp_path / "wheel", PATH=_path_without(hidden, tmp_path / "bin")
    )
    assert status == 0, output
    (wheel,) = (tmp_path / "wheel").iterdir()
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import keras_accq as accq\n"
        "assert accq.Partition.of_tile(64)\n"
        "try: accq.delegate_path()\n"
        "except accq.DelegateError as error: print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ACCQ_DELEGATE"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**environment, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "missing when keras-accq was installed: CMake" in done.stdout


def test_a_compile_error_stops_the_installation(sources, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(sources, broken)
    with open(broken / "tflite_kernels/delegate/CMakeLists.txt", "a") as file:
        file.write('message(FATAL_ERROR "broken on purpose")\n')
    status, output = _pip_wheel(broken, tmp_path / "wheel")
    assert status != 0
    assert "broken on purpose" in output
