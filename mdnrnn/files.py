"""Write files and folders atomically: a reader finds the old version or the complete new one."""

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
"""Extension of temporary files and folders. Their names start with a dot."""
ADVICE = "free some space or choose another path"


@contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; rename it to `path` when the block succeeds, delete it otherwise.

    The data are flushed to the disk before the file is renamed.

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
    """Yield a temporary path; move the file or folder that the block creates there to `path` when the block succeeds.

    The temporary path does not exist yet. Its parent is an empty temporary folder beside `path`, in which the block may
    create other files; the folder is deleted when the block ends.

    Args:
        replace: whether an existing file or folder `path` is replaced.
        advice: end of the error message, which tells the user what to do.

    Raises:
        InputError: `path` or something in the block cannot be written.
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


def is_temporary(path: Path) -> bool:
    """Return whether `path` is named like a temporary file; such files remain if a process is killed."""
    return path.name.startswith(".") and path.suffix == SUFFIX


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path | str, value: object) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def make_folder(path: Path | str) -> Path:
    """Create the folder `path` and its parents if they do not exist; return it as a `Path`."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path}: {error.strerror}; choose another path") from error
    return path
