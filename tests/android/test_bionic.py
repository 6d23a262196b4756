"""Builds the libraries for Android without its NDK: they ask its libc for little and fit its pages.

The headers in bionic/libc declare the few functions of Android's C library that the sources and
libc++'s headers use. What they do not declare is not there to link with, so a new dependency shows
here first. The supported way to build for Android is the NDK (docs/android.md).
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import native_build
import pytest
from native_build import SOURCES

pytestmark = pytest.mark.slow
BIONIC = Path(__file__).resolve().parent / "bionic"
LIBCXX = Path("/usr/lib/llvm-19/include/c++/v1")
LIBRARIES = {"libc.so", "libm.so", "liblog.so"}
EXPORTS = {
    "libaccq_delegate.so": {"tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"},
    "libaccq_delegate_jni.so": {
        f"Java_org_kerasaccq_AccqDelegate_native{name}"
        for name in ("Create", "Destroy", "NodeCount")
    },
}
PAGE = 16384


def _output(*command, **options):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


def _declared(header):
    text = (BIONIC / "libc" / header).read_text()
    noreturn = r"(?:__attribute__\(\(noreturn\)\) )?"
    functions = re.findall(rf"^ACCQ_C {noreturn}[\w* ]+?(\w+)\(", text, re.M)
    return {*functions, *re.findall(r"^extern FILE\* (\w+);", text, re.M)}


def _allowed():
    """By library, the symbols that Android's has and ours may use."""
    headers = {str(h.relative_to(BIONIC / "libc")) for h in (BIONIC / "libc").rglob("*.h")}
    special = {"math.h": "libm.so", "android/log.h": "liblog.so"}
    # What a compiler asks for by itself.
    symbols = {"libc.so": {"__cxa_atexit", "__cxa_finalize"}, "libm.so": set(), "liblog.so": set()}
    for header in headers:
        symbols[special.get(header, "libc.so")] |= _declared(header)
    return symbols


def _flags(target):
    return [
        f"--target={target}",
        "-nostdlibinc",
        "-nostdinc++",
        *(f"-isystem{path}" for path in (BIONIC / "libcxx", LIBCXX, BIONIC / "libc")),
        # The NDK brings what these would need.
        *(("-mno-outline-atomics",) if target.startswith("aarch64") else ()),
        "-fno-threadsafe-statics",
    ]


def _link_flags(folder):
    return ["-nostdlib", "-fuse-ld=lld", f"-L{folder}"]


def _make_system(folder, target):
    """Libraries with Android's names and the allowed symbols, and libc++'s stand-in."""
    for library, symbols in _allowed().items():
        source = folder / f"{library}.c"
        source.write_text("".join(f"void {symbol}(void) {{}}\n" for symbol in sorted(symbols)))
        command = ["clang-19", f"--target={target}", "-w", "-fno-builtin", "-shared", "-nostdlib"]
        command += ["-fuse-ld=lld", f"-Wl,-soname,{library}", str(source), "-o"]
        _output(*command, str(folder / library))
    command = ["clang++-19", *_flags(target), "-std=c++17", "-O2", "-fPIC", "-fno-exceptions"]
    command += ["-fno-rtti", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-c"]
    _output(*command, str(BIONIC / "runtime.cc"), "-o", str(folder / "runtime.o"))


@pytest.fixture(scope="module")
def jni_headers():
    """The flags that find jni.h, which is the JDK's here: the NDK's asks for no symbol either."""
    if not SOURCES.is_dir():
        pytest.skip("testing an installed package: no sources")
    missing = [
        f"{program} ({package})"
        for program, package in (
            ("clang++-19", "clang-19"),
            ("ld.lld-19", "lld-19"),
            ("javac", "default-jdk-headless"),
            ("readelf", "binutils"),
        )
        if not shutil.which(program)
    ]
    if not LIBCXX.is_dir():
        missing.append(f"{LIBCXX} (libc++-19-dev)")
    if missing:
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(f"building for Android without an NDK needs {', '.join(missing)}")
    include = Path(shutil.which("javac")).resolve().parents[1] / "include"
    return [f"-isystem{include}", f"-isystem{include / 'linux'}"]


@pytest.fixture(scope="module", params=["aarch64", "x86_64"])
def built(request, jni_headers, tmp_path_factory):
    """The folder of both libraries for one processor."""
    processor = request.param
    target = f"{processor}-linux-android24"
    system = tmp_path_factory.mktemp(f"system-{processor}")
    _make_system(system, target)
    link = " ".join([*_link_flags(system), "-Wno-unused-command-line-argument"])
    options = {
        "ANDROID": "ON",
        "CMAKE_SYSTEM_NAME": "Linux",  # CMake's own Android insists on an NDK
        "CMAKE_SYSTEM_PROCESSOR": processor,
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "CMAKE_HAVE_LIBC_PTHREAD": "ON",
        "CMAKE_CXX_COMPILER": "clang++-19",
        "CMAKE_CXX_FLAGS": " ".join([*_flags(target), *jni_headers]),
        "CMAKE_MODULE_LINKER_FLAGS": link,
        "CMAKE_SHARED_LINKER_FLAGS": link,
        "CMAKE_CXX_STANDARD_LIBRARIES": f"{system / 'runtime.o'} -lc -lm",
        "ACCQ_BUILD_JNI": "ON",
    }
    return native_build.build(
        f"android-{processor}",
        [f"-D{name}={value}" for name, value in options.items()],
        ["accq_delegate", "accq_delegate_jni"],
    )


def _segments(library):
    """(file offset, address, alignment) of what is mapped into memory."""
    headers = _output("readelf", "-lW", str(library))
    rows = re.findall(r"^ +LOAD +(0x\w+) (0x\w+) .* (0x\w+)$", headers, re.M)
    assert rows, headers
    return [tuple(int(field, 16) for field in row) for row in rows]


def _fits_pages(library):
    return all(
        alignment % PAGE == 0 and (offset - address) % PAGE == 0
        for offset, address, alignment in _segments(library)
    )


def _symbols(library):
    """The names that a library asks for, and those that it gives."""
    table = _output("readelf", "--dyn-syms", "-W", str(library))
    rows = re.findall(r"(?:GLOBAL|WEAK) +\w+ +(\w+) ([\w.]+)", table)
    wanted = {name for index, name in rows if index == "UND"}
    return wanted, {name for index, name in rows if index != "UND"}


@pytest.mark.parametrize("name", EXPORTS)
def test_libraries_fit_android(built, name):
    library = native_build.find(built, name)
    dynamic = _output("readelf", "-dW", str(library))
    wanted, given = _symbols(library)
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= LIBRARIES
    assert "TEXTREL" not in dynamic
    assert {"malloc", "pthread_create", "__android_log_write"} <= wanted
    assert wanted <= set().union(*_allowed().values())
    assert given == EXPORTS[name]
    assert _fits_pages(library)


@pytest.mark.parametrize("built", ["x86_64"], indirect=True)
def test_the_x86_64_library_runs_in_litert(built, tmp_path):
    """With glibc behind Android's names: all of test_runtime.py, byte for byte."""
    if platform.machine() != "x86_64":
        pytest.skip("this machine is no x86-64")
    for library in ("libc.so", "liblog.so"):
        command = ["clang-19", "-O2", "-fPIC", "-shared", f"-Wl,-soname,{library}", "-fuse-ld=lld"]
        _output(*command, str(BIONIC / "over_glibc.c"), "-o", str(tmp_path / library))
    (tmp_path / "libm.so").symlink_to("/lib/x86_64-linux-gnu/libm.so.6")
    environment = {
        **os.environ,
        "ACCQ_DELEGATE": str(native_build.find(built, "libaccq_delegate.so")),
        "LD_LIBRARY_PATH": str(tmp_path),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    output = _output(
        *command, "tests/test_runtime.py", cwd=native_build.REPOSITORY, env=environment
    )
    assert re.search(r"^[0-9]+ passed", output.splitlines()[-1]), output


def test_the_checks_notice(jni_headers, tmp_path):
    """A library of 4 KB pages, one that asks for more than is allowed."""
    target = "x86_64-linux-android24"
    _make_system(tmp_path, target)
    source = tmp_path / "more.cc"
    source.write_text('extern "C" void* dlmalloc(unsigned long); void* f() { return dlmalloc(1); }')
    command = ["clang++-19", *_flags(target), "-shared", "-fPIC", *_link_flags(tmp_path)]
    command += [str(source), "-lc", "-o", str(tmp_path / "more.so")]
    _output(*command, "-Wl,-z,max-page-size=4096")
    assert not _fits_pages(tmp_path / "more.so")
    assert _symbols(tmp_path / "more.so")[0] == {"dlmalloc"}
    with pytest.raises(AssertionError, match="undefined symbol: dlmalloc"):
        _output(*command, "-Wl,-z,defs")
