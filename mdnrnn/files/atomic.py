"""Atomic writing of files and folders.

Atomic writing means that a reader finds either the old version or the complete new version. The output NAME is first
written under the temporary name `.NAME.XXXXXXXX.tmp`, with 8 random hexadecimal digits. The process that writes a
temporary file holds a lock on it. A temporary file without a lock is therefore a leftover of a killed process, and
other processes can delete it.
"""

import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from mdnrnn.errors import InputError
from mdnrnn.files.locks import LockedError, lock_path

File = TypeVar("File", bound=BinaryIO | None)

SUFFIX = ".tmp"
"""Extension of the names of temporary files and folders. These names also start with a dot."""
ADVICE = "free some space or choose another path"


@contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Return a context manager that writes the file `path` atomically.

    The context manager yields a temporary file in the folder of `path`, open for writing bytes. At the end of the block
    the data are flushed to the disk, and the file is renamed to `path`. If the block raises an exception, the temporary
    file is deleted. If the process is killed, the temporary file remains until the next call for the same `path`
    deletes it.

    Raises:
        InputError: `path` cannot be written.
    """
    path = Path(path)
    with _explain_errors(path, ADVICE), _create_temporary(path, lambda new: new.open("xb")) as (temporary, file):
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_path(path: Path | str, *, replace: bool = False, advice: str = ADVICE) -> Iterator[Path]:
    """Return a context manager that yields a temporary path, at which the block creates a file or a folder.

    At the end of the block the file or folder is moved to `path`. If the block raises an exception, the file or folder
    is deleted. If the process is killed, the file or folder remains until the next call for the same `path` deletes it.

    The temporary path does not exist at first. Its parent is an empty temporary folder in the folder of `path`. The
    block may create other files in this parent folder, which is deleted at the end of the block.

    Args:
        path: path of the file or folder to write.
        replace: whether to replace an existing file or folder at `path`. The old one is moved away first, so that for a
            moment nothing exists at `path`.
        advice: last part of the error message, which tells the user what to do.

    Raises:
        InputError: `path`, or a file that the block writes, cannot be written.
    """
    path = Path(path)
    with _explain_errors(path, advice), _create_temporary(path, lambda new: new.mkdir(0o700)) as (parent, _):
        try:
            yield parent / path.name
            if replace and path.exists():
                path.rename(parent / "replaced")
            (parent / path.name).rename(path)
        finally:
            shutil.rmtree(parent, ignore_errors=True)


def is_temporary(path: Path, names: str = r".*") -> bool:
    """Return whether the name of `path` is that of a temporary file, `.NAME.XXXXXXXX.tmp`.

    Args:
        path: path of a file or folder; it need not exist.
        names: regular expression that NAME, the name of the output, must match.
    """
    return re.fullmatch(rf"\.(?:{names})\.[0-9a-f]+{re.escape(SUFFIX)}", path.name, re.DOTALL) is not None


@contextmanager
def _create_temporary(path: Path, create: Callable[[Path], File]) -> Iterator[tuple[Path, File]]:
    """Return a context manager that creates a temporary file or folder beside `path` and locks it.

    At the start, the context manager deletes leftovers of the same output. The block must move or delete the file or
    folder.

    Args:
        path: path of the output.
        create: function that creates a file and returns it open, or creates a folder and returns None; raises
            `FileExistsError` if the path exists.

    Yields:
        The temporary path and the result of `create`.
    """
    remove_leftovers(path.parent, re.escape(path.name))
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
        created = create(temporary)
        try:
            lock = lock_path(temporary)
            break
        except LockedError:  # another process deletes it as a leftover, because it was not locked yet
            if created is not None:
                created.close()
    try:
        yield temporary, created
    finally:
        if lock is not None:
            os.close(lock)


def remove_leftovers(folder: Path, names: str) -> None:
    """Delete the temporary files and folders in `folder` that processes of this user left when they were killed.

    Links, other kinds of files, and files of other users and of running processes remain. On Windows and on file
    systems without locks nothing is deleted, because leftovers cannot be distinguished from the temporary files of
    running processes.

    Args:
        folder: folder of the outputs.
        names: regular expression that the name of the output must match.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            if is_temporary(Path(name), names):
                _remove_leftover(folder / name)


def _remove_leftover(path: Path) -> None:
    with suppress(OSError, LockedError):
        status = path.lstat()
        is_folder = stat.S_ISDIR(status.st_mode)
        if not (is_folder or stat.S_ISREG(status.st_mode)):
            return
        lock = lock_path(path)
        if lock is None:
            return
        try:
            if status.st_uid == os.geteuid():
                shutil.rmtree(path) if is_folder else path.unlink()
        finally:
            os.close(lock)


@contextmanager
def _explain_errors(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path | str, value: object) -> None:
    """Write `value` to `path` as indented JSON, with a final newline, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def make_folder(path: Path | str) -> Path:
    """Create the folder `path` and its parents if they do not exist; return `path` as a `Path`.

    Raises:
        InputError: the folder cannot be created.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {path}: {error.strerror}; choose another path") from error
    return path
