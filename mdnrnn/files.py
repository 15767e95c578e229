"""Atomic writing of files and folders, and the paths of bundled files.

Atomic writing means that a reader finds either the old version or the complete new version.
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mdnrnn.errors import InputError

SUFFIX = ".tmp"
"""Extension of the names of temporary files and folders. These names also start with a dot."""
ADVICE = "free some space or choose another path"


@contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Return a context manager that writes the file `path` atomically.

    It opens a temporary file in the folder of `path` for writing bytes. At the end of the block the data are flushed to
    the disk, and the file is renamed to `path`. If the block raises an exception, the temporary file is deleted.

    Raises:
        InputError: `path` cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
    with _explain_errors(path, ADVICE):
        try:
            with temporary.open("xb") as file:
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
    is deleted.

    The temporary path does not exist at first. Its parent is an empty temporary folder in the folder of `path`. The
    block may create other files in this parent folder, which is deleted at the end of the block.

    Args:
        path: path of the file or folder to write.
        replace: whether to replace an existing file or folder at `path`. It is moved away first, so that for a moment
            nothing exists at `path`.
        advice: last part of the error message, which tells the user what to do.

    Raises:
        InputError: `path` or a file in the block cannot be written.
    """
    path = Path(path)
    with _explain_errors(path, advice):
        parent = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=SUFFIX, dir=path.parent))
        try:
            yield parent / path.name
            if replace and path.exists():
                path.rename(parent / "replaced")
            (parent / path.name).rename(path)
        finally:
            shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def _explain_errors(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def bundled_path(folder: str) -> Path:
    """Return the path of the bundled folder "datasets" or "checkpoints".

    The folder is inside an installed package. In a checkout of the repository it is beside the package.
    """
    package = Path(__file__).parent
    installed = package / folder
    return installed if installed.exists() else package.parent / folder


def is_temporary(path: Path) -> bool:
    """Return whether `path` has the name of a temporary file of this module. Killed processes leave such files."""
    return path.name.startswith(".") and path.suffix == SUFFIX


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
