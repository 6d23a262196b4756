"""Kernels with one fault each: the C++ tests must notice, here and on an emulated Cortex-A53."""

import os
import platform
import re
import shutil
import subprocess

import native_build
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not native_build.SOURCES.is_dir(), reason="tests an installed package, no sources"
    ),
]


# Without schedules there is none to break.
_INT32_KERNELS = {"avx512vnni_k4n32", "avxvnni_k4n16", "neon_sdot", "neon_smmla", "portable_int32"}
_OF_SCHEDULES = {"spill", "order"}


# How to build and run each target's tests, and of how many cases one is run: emulation is slow.
_TARGETS = {
    "here": ([], [], 1),
    "aarch64": (
        [
            f"-DCMAKE_TOOLCHAIN_FILE={native_build.SOURCES}/cmake/linux-aarch64.cmake",
            "-DACCQ_GTEST_SOURCES=/usr/src/googletest",
        ],
        ["qemu-aarch64", "-cpu", "cortex-a53", "-L", "/usr/aarch64-linux-gnu"],
        2,
    ),
}


def _build(fault, target="here"):
    if target == "aarch64" and not all(
        map(shutil.which, ("qemu-aarch64", "aarch64-linux-gnu-g++"))
    ):
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome("not on PATH: qemu-aarch64 (qemu-user) or aarch64-linux-gnu-g++")
    options = ["-DACCQ_BUILD_TESTS=ON", f"-DACCQ_BREAK={fault}", "-DCMAKE_BUILD_TYPE=Release"]
    try:
        # One folder for all faults: only the kernels are compiled again, not the tests.
        folder = native_build.build(
            f"mutation-{target}", [*options, *_TARGETS[target][0]], ["accq_kernels_test"]
        )
    except native_build.ToolsMissing as error:
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(str(error))
    return [*_TARGETS[target][1], str(native_build.find(folder, "accq_kernels_test"))]


def _run(program, *options, every=1):
    return subprocess.run(
        [*program, *options],
        env={**os.environ, "ACCQ_EVERY": str(every)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _kernels(program):
    listed = _run(program, "--gtest_list_tests", "--gtest_filter=*KernelTest.NetworkLayers/*")
    names = re.findall(r"NetworkLayers/(\w+)", listed.stdout)
    # One is part of the tests, which are built without the fault.
    return [name for name in names if name != "avxvnni_twin"]


def test_kernels_without_a_fault_pass():
    # The stage `cpp` runs all cases.
    done = _run(_build(""), "--gtest_brief=1", "--gtest_fail_fast", every=4)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("target", _TARGETS)
@pytest.mark.parametrize("fault", ["clamp", "spill", "rounding", "padding", "order"])
def test_the_tests_notice_the_fault_in_every_kernel(fault, target):
    program = _build(fault, target)
    noticed = set()
    for kernel in _kernels(program):
        if fault in _OF_SCHEDULES and kernel in _INT32_KERNELS:
            continue
        options = [f"--gtest_filter=*KernelTest.*/{kernel}", "--gtest_fail_fast"]
        done = _run(program, *options, every=_TARGETS[target][2])
        if "this CPU can not run it" in done.stdout:
            continue
        # 1 is GoogleTest's "some test failed": a crash would prove nothing.
        assert done.returncode == 1, f"{kernel}: {done.stdout[-4000:]}"
        assert "FAILED" in done.stdout
        noticed.add(kernel)
    portable, arm = {"portable_dot8", "portable_dw"}, {"neon_dot8", "neon_dot16", "neon_dw"}
    assert noticed >= (arm if "aarch64" in (target, platform.machine()) else portable)


def test_an_unknown_fault_is_refused():
    with pytest.raises(RuntimeError, match="ACCQ_BREAK"):
        _build("nonsense")
