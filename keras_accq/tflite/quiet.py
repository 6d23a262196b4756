"""Keeping two lines of the converter's own chatter out of the user's terminal."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

# Written by every conversion, whatever is converted, with no way to turn them off.
_CHATTER = (b"Ignored output_format.", b"Ignored drop_control_dependency.")


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Holds back what C++ code writes to standard error, and then writes all but the chatter.

    The stream is the process's: what other threads write meanwhile comes later, but comes.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        original = os.dup(2)
    except OSError:  # Closed, as in a daemon: nothing to keep clean.
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(original, 2)
                held.seek(0)
                for line in held:
                    if not any(chatter in line for chatter in _CHATTER):
                        os.write(2, line)
    finally:
        os.close(original)
