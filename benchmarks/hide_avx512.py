"""Lets LiteRT and the delegate believe, in this process, that the CPU has no AVX-512 and VNNI.

Many servers have AVX-512 VNNI, for which LiteRT's XNNPACK has kernels of its own, and so has the
delegate; the 16-bit kernels are for the CPUs without. `hide_avx512()` patches every CPUID
instruction of LiteRT's loaded libraries and of the delegate (hide_avx512.c), so that both select
the kernels they would select there. Clock speed, caches and everything else remain this machine's:
say "measured on <CPU> with AVX-512 and VNNI hidden" with any figure taken so.

x86-64 Linux only; needs a C compiler and objdump (binutils).
"""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_accq import delegate_path

SOURCE = Path(__file__).with_suffix(".c")


def hide_avx512() -> "HiddenFeatures":
    """Patch LiteRT and the delegate; call this before the process makes its first interpreter.

    Returns:
        What was patched; its `answers` counts the CPUIDs answered since, and is 0 as long as
        LiteRT has not asked.

    Raises:
        RuntimeError: The platform is another one, a tool is missing, or no CPUID was found.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise RuntimeError(
            f"expected x86_64 Linux to hide CPU features on, "
            f"got {platform.machine()} {sys.platform}: leave --hide-avx512 out"
        )
    for tool, package in (("objdump", "binutils"), ("cc", "gcc")):
        if not shutil.which(tool):
            raise RuntimeError(f"expected {tool} on PATH, found none: install {package}")
    # Loads the libraries; XNNPACK looks at the CPU later, for the first interpreter.
    import ai_edge_litert.interpreter  # noqa: F401

    libraries = dict(_loaded_libraries("/ai_edge_litert/"))
    addresses = _cpuids(libraries)
    if not addresses:
        raise RuntimeError(f"found no CPUID instruction in {', '.join(libraries) or 'LiteRT'}")
    litert_sites = len(addresses)
    delegate = os.path.realpath(delegate_path())
    ctypes.CDLL(delegate)  # stays loaded, patched
    addresses += _cpuids(dict(_loaded_libraries(delegate)))
    patcher = _compile()
    array = (ctypes.c_size_t * len(addresses))(*addresses)
    status = patcher.accq_hide_avx512(array, ctypes.c_size_t(len(addresses)))
    if status:
        raise RuntimeError(
            f"could not patch {len(addresses)} CPUID instructions: "
            + (f"no CPUID at number {status}" if status > 0 else f"status {status}")
        )
    return HiddenFeatures(list(libraries), litert_sites, patcher)


class HiddenFeatures:
    """What `hide_avx512` patched.

    Attributes:
        libraries: LiteRT's patched files.
        sites: How many CPUID instructions they hold.
    """

    def __init__(self, libraries: list[str], sites: int, patcher: ctypes.CDLL) -> None:
        self.libraries = libraries
        self.sites = sites
        self._patcher = patcher

    @property
    def answers(self) -> int:
        """How often LiteRT has asked and got the reduced answer."""
        return self._patcher.accq_hidden_answers(ctypes.c_size_t(self.sites))


def _cpuids(libraries: dict[str, int]) -> list[int]:
    """Where the CPUID instructions of loaded files lie, given their load addresses."""
    return [start + offset for path, start in libraries.items() for offset in _cpuid_offsets(path)]


def _loaded_libraries(part: str) -> Iterator[tuple[str, int]]:
    """Path and load address of each shared object of this process whose path has that part."""
    seen = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        # The first mapping is that of file offset 0, where the addresses of the file start.
        if len(fields) < 6 or part not in fields[5] or ".so" not in fields[5]:
            continue
        if fields[5] not in seen and int(fields[2], 16) == 0:
            seen.add(fields[5])
            yield fields[5], int(fields[0].split("-")[0], 16)


def _cpuid_offsets(path: str) -> list[int]:
    """Addresses of the CPUID instructions, relative to where the file is loaded.

    A disassembly, because the bytes 0F A2 also occur inside other instructions.
    """
    with subprocess.Popen(
        ["objdump", "--disassemble", "--no-show-raw-insn", path], stdout=subprocess.PIPE
    ) as objdump:
        # Millions of lines: a substring first, the parsing only where it is found.
        hits = [line for line in objdump.stdout or () if b"cpuid" in line]
    if objdump.returncode:
        raise RuntimeError(f"objdump could not disassemble {path}: exit {objdump.returncode}")
    return [int(line.split(b":")[0], 16) for line in hits if line.split()[-1] == b"cpuid"]


def _compile() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "hide_avx512.so")
        subprocess.run(
            ["cc", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-o", library, str(SOURCE)],
            check=True,
        )
        return ctypes.CDLL(library)
