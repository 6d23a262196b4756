"""Kernels with one fault each: the C++ tests must notice."""

import os
import platform
import re
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


def _build(fault):
    # One folder for all faults: only the kernels are compiled again, not the tests.
    try:
        folder = native_build.build(
            "mutation",
            ["-DACCQ_BUILD_TESTS=ON", f"-DACCQ_BREAK={fault}", "-DCMAKE_BUILD_TYPE=Release"],
            ["accq_kernels_test"],
        )
    except native_build.ToolsMissing as error:
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(str(error))
    return native_build.find(folder, "accq_kernels_test")


def _run(program, *options):
    return subprocess.run(
        [program, *options],
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
    done = _run(_build(""), "--gtest_brief=1", "--gtest_fail_fast")
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("fault", ["clamp", "spill", "rounding", "padding", "order"])
def test_the_tests_notice_the_fault_in_every_kernel(fault):
    program = _build(fault)
    noticed = set()
    for kernel in _kernels(program):
        if fault in _OF_SCHEDULES and kernel in _INT32_KERNELS:
            continue
        done = _run(program, f"--gtest_filter=*KernelTest.*/{kernel}", "--gtest_fail_fast")
        if "this CPU can not run it" in done.stdout:
            continue
        # 1 is GoogleTest's "some test failed": a crash would prove nothing.
        assert done.returncode == 1, f"{kernel}: {done.stdout[-4000:]}"
        assert "FAILED" in done.stdout
        noticed.add(kernel)
    assert noticed >= {"portable_dot8", "portable_dw"} or platform.machine() == "aarch64"


def test_an_unknown_fault_is_refused():
    with pytest.raises(RuntimeError, match="ACCQ_BREAK"):
        _build("nonsense")
