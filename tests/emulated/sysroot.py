"""A folder with ARM Python, NumPy and a TFLite runtime in it, and running them in qemu-user.

    python tests/emulated/sysroot.py FOLDER [aarch64|armv7]

prepares one and prints the command that starts its Python. Debian's packages are downloaded by an
apt with a state of its own, so that the machine's stays as it is, and unpacked; PyPI's wheels
likewise. Neither needs root. A folder that is complete is used as it is.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path


class Unavailable(RuntimeError):
    """A program or the network is missing; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class Core:
    """What the runtime believes to run on: it takes `/proc/cpuinfo`'s word, not the emulator's.

    Attributes:
        part: ARM's number of the core.
        features: As `/proc/cpuinfo` has them.
        kernels: Those of ours that must run there.
        tests: Which C++ tests to run there, a regular expression: those of kernels that no core
            before it has.
        python_tests: The files of Python tests to run there: end to end, by the runtime.
        emulated: The emulator's name of the core, where that is not the one used here.
    """

    part: int
    features: str
    kernels: tuple[str, ...]
    tests: str
    python_tests: tuple[str, ...] = ()
    emulated: str = ""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Where its packages come from and what can be emulated.

    Attributes:
        name: As in `tflite_kernels/cmake/linux-NAME.cmake`.
        debian: Debian's name of it.
        emulator: The program of qemu-user.
        packages: Of Debian.
        wheels: Of PyPI, with their versions; the first is the runtime.
        platforms: Tags of those wheels.
        libraries: Folders below the root, besides the linker's own, with libraries in them.
        version: Of the architecture, as `/proc/cpuinfo` has it.
        cores: By name.
    """

    name: str
    debian: str
    emulator: str
    packages: tuple[str, ...]
    wheels: Mapping[str, str]
    platforms: tuple[str, ...]
    libraries: tuple[str, ...]
    version: int
    cores: Mapping[str, Core]

    @property
    def runtime(self) -> str:
        name, version = next(iter(self.wheels.items()))
        return f"{name} {version}"


def _as_here(*names: str) -> dict[str, str]:
    return {name: metadata.version(name) for name in names}


# For the Python tests.
_TOOLS = (
    "pytest",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
    "hypothesis",
    "sortedcontainers",
)
_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV82 = f"{_ARMV8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_EXACT = "tests/test_delegate_exact.py"
_NARROW = ("neon_dot8", "neon_dot16", "neon_dw")
AARCH64 = Architecture(
    name="aarch64",
    debian="arm64",
    emulator="qemu-aarch64",
    packages=("python3", "libstdc++6"),
    wheels=_as_here("ai-edge-litert", "numpy", "flatbuffers", *_TOOLS),
    platforms=("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
    libraries=(),
    version=8,
    cores={
        "cortex-a53": Core(
            0xD03, _ARMV8, _NARROW, ".", (_EXACT, "tests/test_runtime.py", "tests/test_kernels.py")
        ),
        "cortex-a72": Core(0xD08, _ARMV8, _NARROW, "Cpu|Dispatch"),
        "cortex-a76": Core(0xD0B, _ARMV82, ("neon_sdot", "neon_dw"), "sdot|Dispatch", (_EXACT,)),
        # The emulator's most capable core, without the vectors of any length that LiteRT would use.
        "neoverse-v1": Core(
            0xD40,
            f"{_ARMV82} i8mm",
            ("neon_smmla", "neon_dw"),
            "smmla|Dispatch",
            (_EXACT,),
            emulated="max,sve=off,sme=off",
        ),
    },
)

# The last runtime that has wheels for 32-bit ARM. PyPI has no NumPy for it; Debian's finds BLAS
# through links that only an installation makes.
_ARMHF = "usr/lib/arm-linux-gnueabihf"
ARMV7 = Architecture(
    name="armv7",
    debian="armhf",
    emulator="qemu-arm",
    packages=("python3", "libstdc++6", "python3-numpy"),
    wheels={"tflite-runtime": "2.14.0", **_as_here("flatbuffers", *_TOOLS)},
    platforms=("manylinux_2_34_armv7l", "manylinux2014_armv7l"),
    libraries=(f"{_ARMHF}/blas", f"{_ARMHF}/lapack"),
    version=7,
    cores={
        "cortex-a7": Core(
            0xC07,
            "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae",
            ("neon_dot8", "neon_dw"),
            ".",
            # Others build files with LiteRT's schema.
            ("tests/test_kernels.py", "tests/test_layouts.py"),
        )
    },
)
ARCHITECTURES = {architecture.name: architecture for architecture in (AARCH64, ARMV7)}


@dataclasses.dataclass(frozen=True)
class Sysroot:
    """A prepared folder."""

    architecture: Architecture
    folder: Path

    def command(
        self, core: str, arguments: Sequence[str], environment: Mapping[str, str], *qemu: str
    ) -> list[str]:
        """The command that runs this folder's Python as if on `core`.

        Args:
            core: One of the architecture's.
            arguments: Of Python.
            environment: Its variables, besides PYTHONHOME; PYTHONPATH is appended to.
            *qemu: More options of the emulator.
        """
        (python,) = (self.folder / "root/usr/bin").glob("python3.*[0-9]")
        path = ":".join(filter(None, (str(self.folder / "site"), environment.get("PYTHONPATH"))))
        settings = {
            **environment,
            "PYTHONHOME": str(self.folder / "root/usr"),
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.architecture.libraries:
            folders = (str(self.folder / "root" / name) for name in self.architecture.libraries)
            settings["LD_LIBRARY_PATH"] = ":".join(folders)
        variables = [part for item in settings.items() for part in ("-E", "=".join(item))]
        root = self.folder / "cores" / core
        emulated = self.architecture.cores[core].emulated or core
        start = [self.architecture.emulator, "-cpu", emulated, "-L", str(root)]
        return [*start, *qemu, *variables, str(python), *arguments]


def prepare(folder: Path, architecture: Architecture = AARCH64) -> Sysroot:
    """Fills `folder / "sysroot-NAME"`, once; raises Unavailable with what to install."""
    tools = {architecture.emulator: "qemu-user", "apt-get": "apt", "dpkg-deb": "dpkg"}
    missing = [f"{name} ({package})" for name, package in tools.items() if not shutil.which(name)]
    if missing:
        raise Unavailable(f"not on PATH: {', '.join(missing)}")
    folder = folder.resolve() / f"sysroot-{architecture.name}"
    done, contents = folder / "done.txt", repr(architecture)
    if not done.exists() or done.read_text() != contents:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _unpack_debian(architecture, folder / "apt", folder / "root")
        _unpack_wheels(architecture, folder)
        for name in architecture.cores:
            _add_core(architecture, folder, name)
        done.write_text(contents)
    return Sysroot(architecture, folder)


def _unpack_debian(architecture: Architecture, state: Path, root: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()  # nothing is installed, so everything needed is downloaded
    options = {
        "APT::Architecture": architecture.debian,
        "APT::Architectures::": architecture.debian,
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "root",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    settings = (part for name, value in options.items() for part in ("-o", f"{name}={value}"))
    apt = ["apt-get", "-qq", *settings]
    try:
        _run([*apt, "update"])
        stale = ""
    except Unavailable as error:  # one index of several may be out of step, and not be missed
        stale = f"{error}\n"
    try:
        _run([*apt, "-y", "--download-only", "install", *architecture.packages])
    except Unavailable as error:
        raise Unavailable(f"{stale}{error}") from error
    root.mkdir()
    for package in sorted((state / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    # Newer distributions have everything below usr, and links to it in a package left out here.
    for name in ("bin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    shutil.rmtree(state)


def _unpack_wheels(architecture: Architecture, folder: Path) -> None:
    (python,) = (folder / "root/usr/bin").glob("python3.*[0-9]")
    version = python.name.removeprefix("python")
    wheels = [f"{name}=={wheel}" for name, wheel in architecture.wheels.items()]
    platforms = [part for name in architecture.platforms for part in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    download = [*pip, str(folder / "wheels"), *platforms, "--python-version", version]
    _run([*download, "--only-binary=:all:", *wheels])
    for wheel in (folder / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder / "site")
    shutil.rmtree(folder / "wheels")


def _add_core(architecture: Architecture, folder: Path, name: str) -> None:
    """A view of the root with the core's `/proc/cpuinfo`, without which cpuinfo crashes."""
    core = architecture.cores[name]
    view = folder / "cores" / name
    processors = view / "sys/devices/system/cpu"
    processors.mkdir(parents=True)
    for part in (folder / "root").iterdir():
        (view / part.name).symlink_to(part)
    for file in ("possible", "present", "online"):
        (processors / file).write_text("0\n")
    (processors / "kernel_max").write_text("7\n")
    (view / "proc").mkdir()
    fields = {
        "processor": 0,
        "BogoMIPS": "100.00",
        "Features": core.features,
        "CPU implementer": "0x41",
        "CPU architecture": architecture.version,
        "CPU variant": "0x0",
        "CPU part": f"{core.part:#x}",
        "CPU revision": 4,
    }
    text = "".join(f"{key}\t: {value}\n" for key, value in fields.items())
    (view / "proc/cpuinfo").write_text(text + "\n")


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, text=True, capture_output=True, check=False, timeout=600
    )
    if done.returncode:
        raise Unavailable(
            f"{' '.join(command)} failed; it needs the network:\n{done.stderr[-2000:]}"
        )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    chosen = ARCHITECTURES[sys.argv[2]] if len(sys.argv) == 3 else AARCH64
    try:
        prepared = prepare(Path(sys.argv[1]), chosen)
        print(" ".join(prepared.command(next(iter(chosen.cores)), [], {})))
    except Unavailable as error:
        sys.exit(str(error))
