"""Access to files of unknown origin: open only regular files, never wait for a FIFO, and limit the size of JSON."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from mdnrnn.errors import InputError

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_MAX_BRACKETS = 1 << 17


def open_regular(path: Path, max_bytes: int | None = None) -> BinaryIO:
    """Open a regular file for reading; a symbolic link is followed.

    Args:
        path: path of the file.
        max_bytes: maximum size of the file; None: any size.

    Raises:
        InputError: the file is missing, is a folder, a FIFO or a device, is larger than `max_bytes`, or cannot be read.
    """
    file = _open(path, os.O_RDONLY, "rb")
    size = os.fstat(file.fileno()).st_size
    if max_bytes is not None and size > max_bytes:
        file.close()
        raise InputError(f"{path} has {size} bytes, expected at most {max_bytes}; restore it, or train a new run")
    return file


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file; see `open_regular`."""
    with open_regular(path, max_bytes) as file:
        data = file.read(max_bytes + 1)  # the file can be larger than its size says, for example in /proc
    if len(data) > max_bytes:
        raise InputError(
            f"{path} has over {max_bytes} bytes, expected at most {max_bytes}; restore it, or train a new run"
        )
    return data


def parse_json(data: bytes) -> Any:
    """Return the value that a JSON text describes.

    The number of brackets is limited, because lists and objects take up to 20 times the memory of their text.

    Raises:
        ValueError: the text is not valid, is nested too deeply, or has more than 2^17 opening brackets ([ and {),
            counting the brackets in strings.
    """
    if data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise ValueError(f"over {_MAX_BRACKETS} brackets")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def open_to_append(path: Path) -> BinaryIO:
    """Open a regular file for appending, or create it; symbolic links are not followed.

    Raises:
        InputError: the file is a symbolic link, has another hard link, is not a regular file, or cannot be written.
    """
    file = _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK, "ab")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise InputError(
            f"{path} has another hard link, so writing would change a second file; replace {path.name} by a copy"
        )
    return file


def _open(path: Path, flags: int, mode: str) -> BinaryIO:
    try:
        descriptor = os.open(path, flags | _NO_WAIT, 0o666)
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() and flags & _NO_LINK else f"cannot be opened: {error.strerror}"
        raise InputError(f"{path} {what}; expected a regular file; replace it, or train a new run") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is a folder, a FIFO or a device; expected a regular file; delete it")
    file: BinaryIO = os.fdopen(descriptor, mode)  # type: ignore[assignment]
    return file
