"""`accq`: reading the command line, and what becomes of an error.

Built on absl's `app` and `argparse_flags`, so that absl's own flags (`--verbosity`, `--pdb`, ...)
go before the sub-command.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app
from absl.flags import argparse_flags

from keras_accq import __version__
from keras_accq.cli import bench, inspect, recipe, report, rewrite, simulate, verify
from keras_accq.cli.common import CHECK_FAILED, FILE, OK, UNABLE, USAGE, Command, UsageError
from keras_accq.errors import AccqError, BudgetError, InvalidFileError, MismatchError

_COMMANDS: tuple[Command, ...] = (inspect, rewrite, verify, simulate, bench, report, recipe)

_DESCRIPTION = """\
int8 models whose dot products provably fit narrow accumulators.

Start with a file:
  accq inspect model.tflite                  what is in it, and what can be taken
  accq rewrite model.tflite model16.tflite   16-bit sums, the same outputs
  accq bench model.tflite                    stock LiteRT against ours on this machine
  accq verify model16.tflite                 what its bytes prove

`accq COMMAND --help` explains each command, with examples."""

_EPILOG = f"""\
exit status:
  {OK}  done, and everything that was asked holds
  {CHECK_FAILED}  a check failed: a claim does not hold, sums overflowed, outputs or recipes differ
  {USAGE}  the command line is wrong
  {FILE}  a file can not be read or written, or is damaged, or of a newer version
  {UNABLE}  it can not be done here: the delegate or an optional package is missing, or keras-accq
     does not support the model"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top: argparse.ArgumentParser = argparse_flags.ArgumentParser(
        prog="accq",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"keras-accq {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        description, _, examples = (module.__doc__ or "").partition("\n\nExamples:\n")
        sub = commands.add_parser(
            module.__name__.rpartition(".")[2],
            help=module.HELP,
            description=description,
            epilog=f"examples:\n{examples.rstrip()}\n\nexit status: see accq --help",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def main(arguments: argparse.Namespace) -> int:
    """Runs one command; returns the exit status, with errors told on standard error."""
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader, such as head, has what it wanted. Python flushes once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except UsageError as error:
        return _fail(arguments, error, USAGE)
    except (BudgetError, MismatchError) as error:
        return _fail(arguments, error, CHECK_FAILED)
    except (InvalidFileError, OSError) as error:
        return _fail(arguments, error, FILE)
    except (AccqError, ImportError, RuntimeError) as error:
        return _fail(arguments, error, UNABLE)
    except ValueError as error:  # What the library says of an argument.
        return _fail(arguments, error, USAGE)


def _fail(arguments: argparse.Namespace, error: Exception, status: int) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, InvalidFileError) and not _names_a_file(arguments, text):
        text = f"{arguments.file}: {text}"
    print(f"accq {arguments.command}: {text}", file=sys.stderr)
    return status


def _names_a_file(arguments: argparse.Namespace, text: str) -> bool:
    values = vars(arguments).values()
    given = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return any(str(value) in text for value in given if isinstance(value, Path))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    top = parser()
    if len(argv) == 1:
        top.print_help(sys.stderr)
        top.exit(USAGE)
    return top.parse_args(list(argv[1:]))


def run() -> None:
    """The entry point; never returns."""
    app.run(main, flags_parser=_parse)
