"""The check of wheels that are to be released: what it finds, on wheels made wrong on purpose."""

import importlib.util
import shutil
import subprocess
import zipfile

import pytest
from native_build import REPOSITORY

_SCRIPT = REPOSITORY / "release" / "wheels.py"
pytestmark = [
    pytest.mark.skipif(not _SCRIPT.exists(), reason="tests an installed package, no sources"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler"),
]
_GOOD = """
void *tflite_plugin_create_delegate(void) { return 0; }
void tflite_plugin_destroy_delegate(void *delegate) { (void)delegate; }
"""


@pytest.fixture(scope="module")
def wheels():
    spec = importlib.util.spec_from_file_location("wheels", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _wheel(folder, source, *options, machine="x86_64", compiler="gcc", library=None):
    (folder / "plugin.c").write_text(source)
    built = folder / "plugin.so"
    command = [compiler, "-shared", "-fPIC", *options, "-o", built, folder / "plugin.c"]
    subprocess.run(command, check=True)
    wheel = folder / f"keras_accq-0-py3-none-manylinux_2_17_{machine}.whl"
    place = library or "keras_accq/lib/libaccq_delegate.so"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(built, place)
        for name, text in (("WHEEL", ""), ("METADATA", ""), ("RECORD", f"{place},,\n")):
            archive.writestr(f"keras_accq-0.dist-info/{name}", text)
    return wheel


def test_a_wheel_that_is_right(wheels, tmp_path):
    assert wheels.problems(_wheel(tmp_path, _GOOD), "x86_64") == []


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        ("int also(void) { return 0; }", (), "as exports, received also, tflite_plugin_create"),
        (
            "int getentropy(void *, unsigned long);"
            "static int (*volatile use)(void *, unsigned long) = getentropy;",
            (),  # of glibc 2.25
            "its libraries make it a wheel for manylinux_2_2",
        ),
        (
            "int Py_IsInitialized(void); static int (*volatile use)(void) = Py_IsInitialized;",
            (),
            "nothing of one Python's interface, received Py_IsInitialized",
        ),
    ],
    ids=["exports", "glibc", "python"],
)
def test_a_wheel_that_is_wrong(wheels, tmp_path, source, options, problem):
    found = wheels.problems(_wheel(tmp_path, _GOOD + source, *options), "x86_64")
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-gcc"), reason="no cross compiler")
def test_a_library_for_another_machine(wheels, tmp_path):
    wheel = _wheel(tmp_path, _GOOD, compiler="aarch64-linux-gnu-gcc")
    assert "expected a library for x86_64, received one for EM_AARCH64" in "".join(
        wheels.problems(wheel, "x86_64")
    )
    named = _wheel(tmp_path, _GOOD, machine="aarch64", compiler="aarch64-linux-gnu-gcc")
    assert wheels.problems(named, "aarch64") == []


def test_a_wheel_without_the_library(wheels, tmp_path):
    wheel = _wheel(tmp_path, _GOOD, library="keras_accq/lib/not_built.txt")
    assert "libaccq_delegate.so in it, which is missing" in "".join(
        wheels.problems(wheel, "x86_64")
    )
