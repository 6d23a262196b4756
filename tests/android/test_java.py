"""The Java class AccqDelegate: compiles against TensorFlow Lite's interface, works through JNI."""

import os
import shutil
import subprocess
from pathlib import Path

import native_build
import pytest
from native_build import SOURCES

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent


def _run(command, **options):
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
        **options,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """The folder of the compiled classes: AccqDelegate as for Android, then the test program."""
    if not SOURCES.is_dir():
        pytest.skip("testing an installed package: no sources")
    if not (shutil.which("javac") and shutil.which("java")):
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome("no JDK on PATH (javac, java): install default-jdk-headless")
    folder = tmp_path_factory.mktemp("classes")
    own = sorted((SOURCES / "android/src/main/java").rglob("*.java"))
    assert own
    stub = HERE / "stub/org/tensorflow/lite/Delegate.java"
    # Java 8 is what Android's tools take at least; javac calls it obsolete.
    strict = ["-Xlint:all,-options", "-Werror", "-d", str(folder)]
    _run(["javac", "--release", "8", *strict, str(stub), *map(str, own)])
    _run(["javac", *strict, "-cp", str(folder), str(HERE / "Exercise.java")])
    return folder


def _exercise(classes, library_path, *arguments):
    # -Xcheck:jni watches every call that the library makes.
    command = ["java", "-Xcheck:jni", "-Xmx256m", f"-Djava.library.path={library_path}"]
    output = _run([*command, "-cp", str(classes), "Exercise", *arguments])
    assert f"passed: {arguments[0]}" in output, output
    assert "WARNING" not in output, output
    assert "FATAL" not in output, output


def test_the_class_works_through_jni(classes, tmp_path):
    folder = native_build.build("jni", ["-DACCQ_BUILD_JNI=ON"], ["accq_delegate_jni"])
    library = native_build.find(folder, "libaccq_delegate_jni.so")
    _exercise(classes, library.parent, "all", str(tmp_path / "report.jsonl"))


def test_a_missing_library_is_told_with_what_to_do(classes, tmp_path):
    _exercise(classes, tmp_path, "library missing")
