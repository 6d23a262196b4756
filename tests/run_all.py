"""Runs every check of the project: python tests/run_all.py [--quick] [stage ...]

Stages, in this order: lint, cpp, sanitizers, threads, aarch64, armv7, riscv64, wheel,
wheel_aarch64, backends, python. A stage that fails does not stop the others; the exit status is
nonzero when any failed. Needs the `[test]` extra, CMake, a C++17 compiler and GoogleTest;
everything is built in temporary folders. Where the tools of an emulated stage, or the frameworks of
`backends`, are missing it is skipped, with a message; with CI set it fails.
"""

import argparse
import contextlib
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from emulated import sysroot
from native_build import REPOSITORY, SOURCES, build, cache_folder, find

PYTHON_SOURCES = ("keras_accq", "tests", "examples", "benchmarks", "release", "setup.py")


class StageFailed(RuntimeError):
    """A check of the running stage failed; its output has been shown, `last` ends it."""

    def __init__(self, text: str, last: str = "") -> None:
        super().__init__(text)
        self.last = last


class StageSkipped(RuntimeError):
    """This machine can not run the stage; the text says why."""


def run(command: Sequence[str], *, cwd: Path = REPOSITORY, **environment: str) -> str:
    """Run a command, showing its output as it comes; returns the output's last line."""
    print(f"$ {' '.join(command)}", flush=True)
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    if process.wait():
        raise StageFailed(f"{Path(command[0]).name} returned {process.returncode}", last)
    return last


def tool(name: str) -> str:
    """A program installed beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise StageFailed(f"{name} not found: pip install -e '.[test]'")
    return found


def lint(_: bool) -> None:
    """Style and types: ruff, mypy, clang-format."""
    failures = []
    files = sorted(str(f.relative_to(REPOSITORY)) for f in _cpp_sources())
    for command in (
        [tool("ruff"), "check", *PYTHON_SOURCES],
        [tool("ruff"), "format", "--check", *PYTHON_SOURCES],
        [tool("mypy")],
        [tool("clang-format"), "--dry-run", "-Werror", *files],
    ):
        try:
            run(command)
        except StageFailed as error:  # the other linters have their say too
            failures.append(str(error))
    if failures:
        raise StageFailed("; ".join(failures))


def _cpp_sources() -> list[Path]:
    folders = (SOURCES, REPOSITORY / "benchmarks")
    return [f for d in folders for f in d.rglob("*") if f.suffix in (".c", ".cc", ".h")]


def _ctest(configuration: str, options: Sequence[str], *selection: str) -> None:
    folder = build(configuration, ["-DACCQ_BUILD_TESTS=ON", *options])
    ctest = ["ctest", "--test-dir", str(folder), "--parallel", "2", "--output-on-failure"]
    run(
        [*ctest, "--no-tests=error", *selection],
        ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1",
        UBSAN_OPTIONS="print_stacktrace=1",
    )


def cpp(_: bool) -> None:
    """The C++ tests, as shipped, and that the benchmarks compile."""
    _ctest("release", ["-DACCQ_BUILD_BENCH=ON"])


def sanitizers(_: bool) -> None:
    """The C++ tests and 20 seconds of each fuzz target, under ASan and UBSan."""
    _ctest("asan", ["-DACCQ_SANITIZE=address,undefined", "-DACCQ_FUZZ_SECONDS=20"])


def threads(_: bool) -> None:
    """The C++ tests that start threads, under ThreadSanitizer."""
    _ctest("tsan", ["-DACCQ_SANITIZE=thread"], "-R", "[Tt]hread")


def _skipped(text: str) -> RuntimeError:
    """On a developer's machine a reason to skip; in CI nothing may be skipped unseen."""
    return (StageFailed if os.environ.get("CI") else StageSkipped)(text)


def _require(program: str, package: str) -> None:
    if not shutil.which(program):
        raise _skipped(f"not on PATH: {program} ({package})")


def _cross_build(name: str, *targets: str) -> Path:
    toolchain = SOURCES / "cmake" / f"linux-{name}.cmake"
    tests = ["-DACCQ_BUILD_TESTS=ON", "-DACCQ_GTEST_SOURCES=/usr/src/googletest"]
    return build(name, [*tests, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"], targets)


def _emulated_ctest(folder: Path, core: str, tests_like: str, *, every: int) -> None:
    tests = ["ctest", "--test-dir", str(folder), "--parallel", "2", "--progress"]
    options = ["--output-on-failure", "--no-tests=error", "-R", tests_like]
    run([*tests, *options], QEMU_CPU=core, ACCQ_EVERY=str(every))


def _sysroot(architecture: sysroot.Architecture) -> sysroot.Sysroot:
    try:
        kept = os.environ.get("ACCQ_SYSROOT")
        return sysroot.prepare(Path(kept) if kept else cache_folder(), architecture)
    except sysroot.Unavailable as error:
        raise _skipped(str(error)) from error


@contextlib.contextmanager
def _replay(root: sysroot.Sysroot, **environment: str) -> Iterator[Callable[[str], object]]:
    """Gives what runs whole interpreters on a core, with the package of `environment`."""
    programs = REPOSITORY / "tests" / "emulated"
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory(prefix="keras-accq-emulated-") as temporary:
        cases = str(Path(temporary) / "cases.npz")
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        run([sys.executable, str(programs / "cases.py"), cases], PYTHONPATH=path)
        replay = [str(programs / "replay.py"), cases]
        cores = root.architecture.cores
        yield lambda name: run(root.command(name, [*replay, *cores[name].kernels], environment))


def _emulated(architecture: sysroot.Architecture, compiler: str, *, every: int) -> None:
    """The C++ tests, whole interpreters and Python tests on each of an architecture's cores."""
    _require(compiler, f"g++-{compiler.removesuffix('-g++')}")
    root = _sysroot(architecture)
    folder = _cross_build(architecture.name)
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "ACCQ_DELEGATE": str(find(folder, "libaccq_delegate.so")),
        "ACCQ_TESTING": str(find(folder, "libaccq_testing.so")),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with _replay(root, **environment) as replay:
        for name, core in architecture.cores.items():
            _emulated_ctest(folder, core.emulated or name, core.tests, every=every)
            replay(name)
            if core.python_tests:
                pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
                run(root.command(name, [*pytest, *core.python_tests], environment))


def aarch64(_: bool) -> None:
    """The C++ tests and whole LiteRT interpreters on emulated 64-bit ARM cores.

    `ACCQ_SYSROOT` names the folder that keeps the emulated Pythons for the next run.
    """
    _require("aarch64-linux-gnu-gcc", "g++-aarch64-linux-gnu")
    _emulated(sysroot.AARCH64, "aarch64-linux-gnu-g++", every=5)


def armv7(_: bool) -> None:
    """The C++ tests and whole tflite-runtime interpreters on an emulated 32-bit ARM core."""
    _emulated(sysroot.ARMV7, "arm-linux-gnueabihf-g++", every=17)


def riscv64(_: bool) -> None:
    """The tests of the portable kernels on an emulated 64-bit RISC-V core with vectors."""
    _require("clang++-19", "clang-19")
    _require("riscv64-linux-gnu-g++", "g++-riscv64-linux-gnu")
    _require("qemu-riscv64", "qemu-user")
    folder = _cross_build("riscv64", "accq_kernels_test")
    # Whole networks' layers take minutes: vectors are slow in the emulator.
    _emulated_ctest(folder, "rv64,v=true,vlen=128", r"KernelTest\.[CRSW]|Schedule", every=17)


@functools.cache
def _wheels() -> dict[str, Path]:
    """The wheel of each machine, built by the one command that builds them for users."""
    folder = cache_folder() / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, str(REPOSITORY / "release/wheels.py"), "--output", str(folder)])
    return {path.stem.partition("manylinux_2_17_")[2]: path for path in folder.glob("*.whl")}


def backends(_: bool) -> None:
    """Keras's backends, each in a process of its own, and models exchanged between them."""
    missing = [name for name in ("jax", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        raise _skipped(f"not installed: {' and '.join(missing)} (pip install -e '.[backends]')")
    with tempfile.TemporaryDirectory(prefix="keras-accq-backends-") as folder:
        # On the last one, what the others left is compared, converted and run.
        for name in ("jax", "torch", "tensorflow"):
            run(
                [sys.executable, "-m", "pytest", "-q", "--durations=10", "tests/backends"],
                PYTHONPATH=str(REPOSITORY),
                KERAS_BACKEND=name,
                ACCQ_BACKENDS=folder,
                OMP_NUM_THREADS="1",  # The networks are small: more threads wait for each other.
            )


def wheel(_: bool) -> None:
    """Build the wheels, install this machine's into a new environment, run the quick tests on it.

    The tests are copied away from the sources, so that `import keras_accq` can only find the
    installed package. The new environment borrows this one's site-packages through a .pth file
    instead of downloading TensorFlow again; .pth files inside a borrowed folder are not read, so
    an editable keras_accq there stays out of sight.
    """
    built = _wheels().get(platform.machine())
    if built is None:
        raise _skipped(f"there are no wheels for {platform.machine()}")
    testing = find(
        build("release", ["-DACCQ_BUILD_TESTS=ON"], ["accq_testing"]), "libaccq_testing.so"
    )
    with tempfile.TemporaryDirectory(prefix="keras-accq-wheel-test-") as temporary:
        folder = Path(temporary)
        venv.create(folder / "venv", symlinks=True)
        python = str(folder / "venv/bin/python")
        (site_packages,) = (folder / "venv").glob("lib/python*/site-packages")
        install = [sys.executable, "-m", "pip", "--quiet", "--python", python, "install"]
        run([*install, "--no-deps", str(built)])
        borrowed = [p for p in sys.path if p.endswith("site-packages")]
        (site_packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")

        where = run(
            [python, "-P", "-c", "import keras_accq; print(keras_accq.__file__)"], cwd=folder
        )
        if not where.startswith(str(site_packages)):
            raise StageFailed(f"expected keras_accq in {site_packages}, it is {where}")
        for name in ("tests", "examples"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(REPOSITORY / name, folder)
        environment = {k: v for k, v in os.environ.items() if k in ("ACCQ_DELEGATE", "PYTHONPATH")}
        if environment:
            raise StageFailed(f"unset {', '.join(environment)}: they hide the installed package")
        run(
            [python, "-P", "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"],
            cwd=folder,
            ACCQ_TESTING=str(testing),
        )


def wheel_aarch64(_: bool) -> None:
    """Install the wheel with an emulated 64-bit ARM Python's own pip; run LiteRT with it there."""
    import pip

    root = _sysroot(sysroot.AARCH64)
    built = _wheels()["aarch64"]
    core = next(iter(sysroot.AARCH64.cores))
    with tempfile.TemporaryDirectory(prefix="keras-accq-wheel-test-") as temporary:
        folder = Path(temporary)
        # pip alone: this Python's other packages are for this machine.
        shutil.copytree(Path(pip.__file__).parent, folder / "tools/pip")
        target = str(folder / "site")
        install = ["-m", "pip", "--quiet", "--no-cache-dir", "--disable-pip-version-check"]
        install += ["install", "--no-index", "--no-deps", "--target", target, str(built)]
        run(root.command(core, install, {"PYTHONPATH": str(folder / "tools")}))
        where = ["-P", "-c", "import keras_accq; print(keras_accq.delegate_path())"]
        found = run(root.command(core, where, {"PYTHONPATH": target}))
        if not found.startswith(target):
            raise StageFailed(f"expected the delegate in {target}, it is {found}")
        with _replay(root, PYTHONPATH=target) as replay:
            replay(core)


def python(quick: bool) -> str:
    """pytest over the source tree."""
    selection = ["-m", "not slow"] if quick else []
    return run(
        [sys.executable, "-m", "pytest", "--durations=15", *selection], PYTHONPATH=str(REPOSITORY)
    )


STAGES: dict[str, Callable[[bool], str | None]] = {
    stage.__name__: stage
    for stage in (
        lint,
        cpp,
        sanitizers,
        threads,
        aarch64,
        armv7,
        riscv64,
        wheel,
        wheel_aarch64,
        backends,
        python,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="stage", help="which to run; all if none")
    parser.add_argument("--quick", action="store_true", help="leave the slow Python tests out")
    arguments = parser.parse_args()
    for name in arguments.stages:
        if name not in STAGES:
            parser.error(f"expected stages out of {', '.join(STAGES)}; received: {name}")

    rows, last = [], ""
    for name in arguments.stages or STAGES:
        print(f"\n=== {name}: {(STAGES[name].__doc__ or '').splitlines()[0]}", flush=True)
        start, outcome = time.monotonic(), "ok"
        try:
            last = STAGES[name](arguments.quick) or last
        except StageSkipped as error:
            print(error, flush=True)
            outcome = f"skipped: {str(error).splitlines()[0]}"
        except RuntimeError as error:  # StageFailed, or a build of native_build
            print(error, flush=True)
            outcome = f"FAILED: {str(error).splitlines()[0]}"
            last = getattr(error, "last", "") or last
        rows.append((name, time.monotonic() - start, outcome))

    print()
    for name, seconds, outcome in rows:
        print(f"{name:12} {seconds:6.0f} s  {outcome}")
    if last:
        print(last)  # of a whole run: pytest's own summary
    return int(any(outcome.startswith("FAILED") for _, _, outcome in rows))


if __name__ == "__main__":
    sys.exit(main())
