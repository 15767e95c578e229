"""Locks of files and folders that the operating system releases when the process ends, even if it is killed.

The locks are advisory: while a process holds a lock, other processes cannot acquire the same lock, but they can read
and write without a lock. On file systems without locks nothing is locked, and no error is raised.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mdnrnn.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_FILE = ".train.lock"
"""Name of the file that `lock_folder` creates. It contains the process ID of the holder."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags for `os.open`: do not follow a symbolic link, do not wait for a FIFO, do not pass the file to subprocesses."""
_LOCKED_BYTE = 1 << 30
"""Position of the byte that is locked on Windows. Other processes cannot read a locked byte, so it must not be part of
the process ID."""


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Return a context manager in which this process holds the lock of a folder.

    Raises:
        InputError: another process holds the lock, or the lock file cannot be created.
    """
    path = folder / LOCK_FILE
    descriptor = _acquire(path, folder)
    try:
        yield
    finally:
        # The file is deleted before the lock is released, because after the release another process can use the file.
        # On Windows the order is reversed, because Windows deletes a file only if no process has it open.
        if sys.platform == "win32":
            os.close(descriptor)
        with suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _acquire(path: Path, folder: Path) -> int:
    """Create and lock the lock file; return its descriptor."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o644)
        except OSError as error:
            raise InputError(
                f"cannot write the lock file {path}: {error.strerror or error}; delete it if no training uses the "
                "folder, or check the permissions of the folder"
            ) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise InputError(
                    f"cannot lock {path}: it is not a regular file, or has several hard links; delete {path}"
                )
            _lock(descriptor)
            if _is_at(descriptor, path):  # otherwise the previous holder deleted the file before it released the lock
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        except LockedError:
            holder = _read_process_id(descriptor)
            os.close(descriptor)
            raise InputError(
                f"{folder} is in use by {holder}; wait until it ends, or stop it, then try again"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _read_process_id(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    found = re.fullmatch(rb"(\d{1,10})\n", os.read(descriptor, 32))
    return f"process {found[1].decode()}" if found else "another process"


def lock_path(path: Path) -> int | None:
    """Lock a file or folder, and return a file descriptor. Closing the descriptor releases the lock.

    Return None if locks are not supported: on Windows, and on some file systems.

    Raises:
        LockedError: another process holds the lock, or `path` was moved, deleted or replaced before it was locked.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_LINK)
    except FileNotFoundError:
        raise LockedError from None
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    except OSError:
        os.close(descriptor)
        return None
    os.close(descriptor)
    raise LockedError


def _lock(descriptor: int) -> None:
    """Lock an open file without waiting; do nothing if the file system has no locks."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # PermissionError: Windows
        raise LockedError from error
    except OSError:
        return


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether `path` still refers to the open file, and not to a new file of the same name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
