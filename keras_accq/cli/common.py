"""What sub-commands share: exit statuses, arguments, and reading files."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from keras_accq.errors import InvalidFileError

_T = TypeVar("_T")

# Exit statuses, documented in `accq --help`.
OK, CHECK_FAILED, USAGE, FILE, UNABLE = range(5)

MAX_THREADS = 64  # Of the delegate, kMaxThreads in delegate_options.h.

_KERAS_SUFFIXES = (".keras", ".h5")


class Command(Protocol):
    """A sub-command's module. Its docstring is the help, with "Examples:" at the end."""

    __name__: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


class UsageError(Exception):
    """The command line asks for something that makes no sense; exit status 2."""


def add_model(parser: argparse.ArgumentParser, kinds: str = ".tflite") -> None:
    """The model file, the first argument of most commands."""
    parser.add_argument("file", type=Path, metavar="FILE", help=f"a {kinds} file")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def is_keras(path: Path) -> bool:
    """Whether a path is a Keras model's, by its suffix."""
    return path.suffix in _KERAS_SUFFIXES


def tflite_bytes(path: Path) -> bytes:
    """The bytes of a `.tflite` file.

    Raises:
        UsageError: It is a Keras model.
        OSError: It can not be read.
    """
    if is_keras(path):
        raise UsageError(
            f"{path} is a Keras model and this works on .tflite files; for a model that "
            f"accq.quantize made, `accq rewrite {path} model.tflite` writes one"
        )
    return path.read_bytes()


def quantized_model(path: Path) -> Any:
    """The Keras model of a file, loaded with our layers.

    Raises:
        ImportError: Keras or TensorFlow is missing.
        InvalidFileError: Keras can not read it.
        OSError: It can not be opened.
    """
    path.open("rb").close()  # Keras says less about a file that is not there.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets on standard error.
    try:
        with with_status("loading TensorFlow and the model"):
            from keras_accq.loading import load_model

            return load_model(path)
    except ImportError as error:
        raise ImportError(
            f"{path} is read with Keras and TensorFlow, and one is missing ({error}): "
            "pip install keras tensorflow"
        ) from error
    except (TypeError, ValueError) as error:
        raise InvalidFileError(f"{path}: Keras can not load it: {error}") from error


def check_count(option: str, value: int | None, most: int | None = None) -> None:
    """Refuses a count below 1, or above `most`.

    Raises:
        UsageError: The value is one.
    """
    if value is not None and (value < 1 or (most is not None and value > most)):
        expected = "at least 1" if most is None else f"1 to {most}"
        raise UsageError(f"{option}: expected {expected}, received {value}")


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=1))


def with_progress(items: Iterable[_T], what: str) -> Iterable[_T]:
    """The items, with a progress bar on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(list(items), what, console=Console(stderr=True), transient=True)


@contextlib.contextmanager
def with_status(what: str) -> Iterator[None]:
    """Says what is being done, while it is done, on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield
