"""Writing files so that a reader finds either the old one or the new one, never half of either."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mdnrnn.errors import InputError


def write_atomically(path: Path | str, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, then rename it into place."""
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}; free some space or choose another place") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def is_leftover(path: Path) -> bool:
    """Whether `path` is a temporary file of `write_atomically`, left by a process that was killed."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    write_atomically(path, lambda file: file.write(data))


def write_json(path: Path | str, value: object) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def make_folder(path: Path | str) -> Path:
    """Create the folder `path` (and its parents) if it is not there."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path}: {error.strerror}; choose another place") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
