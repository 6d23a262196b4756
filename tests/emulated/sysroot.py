"""A folder with 64-bit ARM Python, NumPy and LiteRT in it, and running them in qemu-user.

    python tests/emulated/sysroot.py FOLDER

prepares one and prints the command that starts its Python. Debian's arm64 packages are downloaded
by an apt with a state of its own, so that the machine's stays as it is, and unpacked; PyPI's wheels
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

_DEBIAN = ("python3", "libstdc++6")
_WHEELS = ("ai-edge-litert", "numpy", "flatbuffers")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_TOOLS = {
    "qemu-aarch64": "qemu-user",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}


class Unavailable(RuntimeError):
    """A program or the network is missing; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class Core:
    """What LiteRT believes to run on: cpuinfo takes `/proc/cpuinfo`'s word, not the emulator's."""

    part: int  # ARM's number of the core
    features: str


_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
CORES = {
    "cortex-a53": Core(0xD03, _ARMV8),
    "cortex-a72": Core(0xD08, _ARMV8),
    "cortex-a76": Core(0xD0B, f"{_ARMV8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
}


@dataclasses.dataclass(frozen=True)
class Sysroot:
    """A prepared folder."""

    folder: Path

    def command(
        self, core: str, arguments: Sequence[str], environment: Mapping[str, str], *qemu: str
    ) -> list[str]:
        """The command that runs this folder's Python as if on `core`, one of `CORES`.

        Args:
            core: The core to emulate.
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
        variables = [part for item in settings.items() for part in ("-E", "=".join(item))]
        root = self.folder / "cores" / core
        start = ["qemu-aarch64", "-cpu", core, "-L", str(root), *qemu, *variables]
        return [*start, str(python), *arguments]


def prepare(folder: Path) -> Sysroot:
    """Fills `folder`, once; raises Unavailable with what to install."""
    missing = [f"{program} ({package})" for program, package in _TOOLS.items()
               if not shutil.which(program)]  # fmt: skip
    if missing:
        raise Unavailable(f"not on PATH: {', '.join(missing)}")
    folder = folder.resolve()
    wheels = [f"{name}=={metadata.version(name)}" for name in _WHEELS]
    done, contents = folder / "done.txt", "\n".join([*_DEBIAN, *wheels])
    if not done.exists() or done.read_text() != contents:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _unpack_debian(folder / "apt", folder / "root")
        _unpack_wheels(wheels, folder)
        for name, core in CORES.items():
            _add_core(folder, name, core)
        done.write_text(contents)
    return Sysroot(folder)


def _unpack_debian(state: Path, root: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()  # nothing is installed, so everything needed is downloaded
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "root",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    settings = (part for name, value in options.items() for part in ("-o", f"{name}={value}"))
    apt = ["apt-get", "-qq", *settings]
    _run([*apt, "update"])
    _run([*apt, "-y", "--download-only", "install", *_DEBIAN])
    root.mkdir()
    for package in sorted((state / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    # Newer distributions have everything below usr, and links to it in a package left out here.
    for name in ("bin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    shutil.rmtree(state)


def _unpack_wheels(wheels: Sequence[str], folder: Path) -> None:
    (python,) = (folder / "root/usr/bin").glob("python3.*[0-9]")
    version = python.name.removeprefix("python")
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    download = [*pip, str(folder / "wheels"), *platforms, "--python-version", version]
    _run([*download, "--only-binary=:all:", *wheels])
    for wheel in (folder / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder / "site")
    shutil.rmtree(folder / "wheels")


def _add_core(folder: Path, name: str, core: Core) -> None:
    """A view of the root with the core's `/proc/cpuinfo`, without which cpuinfo crashes."""
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
        "CPU architecture": 8,
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
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(" ".join(prepare(Path(sys.argv[1])).command("cortex-a53", [], {})))
    except Unavailable as error:
        sys.exit(str(error))
