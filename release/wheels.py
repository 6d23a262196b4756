"""Builds the wheels: one per platform, for every Python 3, on any Linux machine.

    python release/wheels.py [--output dist] [x86_64] [aarch64]

The delegate is compiled by Zig's Clang against glibc 2.17, with libc++ inside. Needs the extra
[wheels], CMake, and ninja or make. Every wheel is checked before it is put into the folder: it must
keep what its name promises to pip, and export the two functions of an external delegate only.
"""

import argparse
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MACHINES = ("x86_64", "aarch64")
GLIBC = (2, 17)
PLATFORM = f"manylinux_{GLIBC[0]}_{GLIBC[1]}"
LIBRARY = "keras_accq/lib/libaccq_delegate.so"
_TOOLCHAIN = REPOSITORY / "tflite_kernels" / "cmake" / "manylinux.cmake"
_EXPORTS = {"tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"}
_NEEDED = ("auditwheel", "elftools", "ziglang")
_ELF_MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


def build(machine: str, folder: Path) -> Path:
    """Builds one wheel into `folder`, which holds no other."""
    import ziglang

    environment = {
        **os.environ,
        "CMAKE_TOOLCHAIN_FILE": str(_TOOLCHAIN),
        "ACCQ_ZIG": str(Path(ziglang.__file__).with_name("zig")),
        "ACCQ_MACHINE": machine,
    }
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", str(folder)]
    setting = f"--config-settings=--build-option=--plat-name={PLATFORM}_{machine}"
    subprocess.run([*pip, setting, str(REPOSITORY)], env=environment, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def problems(wheel: Path, machine: str) -> list[str]:
    """What the wheel does not keep of its name, and of what a delegate should be."""
    tag = f"{PLATFORM}_{machine}"
    found = []
    if not wheel.name.endswith(f"-py3-none-{tag}.whl"):
        found.append(f"expected a name that ends in -py3-none-{tag}.whl")
    with zipfile.ZipFile(wheel) as archive:
        if LIBRARY not in archive.namelist():
            return [*found, f"expected {LIBRARY} in it, which is missing: is CMake installed?"]
        library = archive.read(LIBRARY)
    found += _library_problems(library, machine)
    kept = _policy(wheel)
    glibc = re.fullmatch(rf"manylinux_(\d+)_(\d+)_{machine}", kept)
    if glibc is None or tuple(map(int, glibc.groups())) > GLIBC:
        found.append(f"its libraries make it a wheel for {kept}")
    return found


def _library_problems(data: bytes, machine: str) -> list[str]:
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(io.BytesIO(data))
    found = []
    if elf["e_machine"] != _ELF_MACHINES[machine]:
        found.append(f"expected a library for {machine}, received one for {elf['e_machine']}")
    exported, imported = set(), set()
    for symbol in elf.get_section_by_name(".dynsym").iter_symbols():
        if symbol["st_info"]["bind"] != "STB_LOCAL":
            (imported if symbol["st_shndx"] == "SHN_UNDEF" else exported).add(symbol.name)
    if exported != _EXPORTS:
        listed = ", ".join(sorted(exported)) or "none"
        found.append(f"expected {' and '.join(sorted(_EXPORTS))} as exports, received {listed}")
    python = sorted(name for name in imported if name.startswith(("Py", "_Py")))
    if python:
        found.append(f"expected nothing of one Python's interface, received {', '.join(python)}")
    return found


def _policy(wheel: Path) -> str:
    """The most compatible tag that the wheel's libraries allow, in auditwheel's judgement."""
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no platform that auditwheel knows: {done.stderr.strip()[-500:]}"
    shown = json.loads(done.stdout)
    return str(shown["overall_tag"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machines", nargs="*", metavar="machine", help="x86_64, aarch64; else both")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder (dist)")
    arguments = parser.parse_args()
    for machine in arguments.machines:
        if machine not in MACHINES:
            parser.error(f"expected machines out of {', '.join(MACHINES)}; received: {machine}")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"{', '.join(missing)} not installed: pip install '.[wheels]'")
    arguments.output.mkdir(parents=True, exist_ok=True)
    status = 0
    for machine in arguments.machines or MACHINES:
        # In that folder, so that a wheel comes to its place whole or not at all.
        with tempfile.TemporaryDirectory(prefix=".wheel-", dir=arguments.output) as temporary:
            wheel = build(machine, Path(temporary))
            found = problems(wheel, machine)
            for problem in found:
                print(f"{wheel.name}: {problem}", file=sys.stderr)
            if found:
                status = 1
                continue
            print(wheel.rename(arguments.output / wheel.name))
    return status


if __name__ == "__main__":
    sys.exit(main())
