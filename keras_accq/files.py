"""Writing files whole or not at all."""

import errno
import os
import secrets


def check_folder(path: str | os.PathLike[str]) -> None:
    """Says now that the folder to write to is missing, not after minutes of work.

    Raises:
        FileNotFoundError: It is.
    """
    folder = os.path.dirname(os.fspath(path)) or os.curdir
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such folder", folder)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a reader never sees a partial file.

    The bytes go to a temporary file in the same folder, which then replaces `path`; when
    anything fails (a full disk, a read-only folder) the temporary file is removed and an
    existing file at `path` is left as it was.

    Args:
        path: Where to write.
        data: The whole content.

    Raises:
        OSError: The folder is missing or not writable, or the disk is full.
    """
    path = os.fspath(path)
    # Same folder: os.replace is atomic only inside one file system.
    temporary = f"{path}.{secrets.token_hex(6)}.part"
    try:
        with open(temporary, "xb") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
    except OSError as error:  # A name that nobody gave would puzzle.
        raise OSError(error.errno, error.strerror, path) from error
