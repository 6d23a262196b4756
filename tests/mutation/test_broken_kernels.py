"""Kernels with one fault each: the C++ tests must notice."""

import os
import subprocess

import native_build
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not native_build.SOURCES.is_dir(), reason="tests an installed package, no sources"
    ),
]


def _kernel_tests(fault):
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
    return subprocess.run(
        [native_build.find(folder, "accq_kernels_test"), "--gtest_brief=1", "--gtest_fail_fast"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_kernels_without_a_fault_pass():
    done = _kernel_tests("")
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("fault", ["clamp", "spill", "rounding", "padding", "order"])
def test_the_tests_notice_the_fault(fault):
    done = _kernel_tests(fault)
    # 1 is GoogleTest's "some test failed": a crash would prove nothing.
    assert done.returncode == 1, done.stdout[-4000:]
    assert "FAILED" in done.stdout


def test_an_unknown_fault_is_refused():
    with pytest.raises(RuntimeError, match="ACCQ_BREAK"):
        _kernel_tests("nonsense")
