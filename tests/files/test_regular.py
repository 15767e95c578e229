"""Files from elsewhere: only regular files are opened, without waiting, and links are not followed for writing."""

import os
import sys
from pathlib import Path

import pytest

from mdnrnn.errors import InputError
from mdnrnn.files.regular import open_regular, open_to_append, read_regular

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs and symbolic links")


def test_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(InputError, match="has 5 bytes, expected at most 4"):
        read_regular(path, 4)
    with pytest.raises(InputError, match="file2 cannot be opened: No such file"):
        read_regular(tmp_path / "file2", 4)


@posix_only
def test_fifo_device_and_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    for path in (tmp_path / "fifo", tmp_path / "device", tmp_path):
        with pytest.raises(InputError, match=r"is a folder, a FIFO or a device|Is a directory"):
            open_regular(path)
    with pytest.raises(InputError, match="is a folder, a FIFO or a device"):
        open_to_append(tmp_path / "fifo")


@posix_only
def test_links_are_read_but_not_written(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"target")
    (tmp_path / "symbolic").symlink_to(target)
    assert read_regular(tmp_path / "symbolic", 10) == b"target"
    with pytest.raises(InputError, match="is a symbolic link; expected a regular file"):
        open_to_append(tmp_path / "symbolic")
    (tmp_path / "hard").hardlink_to(target)
    with pytest.raises(InputError, match="has another hard link"):
        open_to_append(tmp_path / "hard")
    assert target.read_bytes() == b"target"


def test_new_file_is_created_and_appended_to(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        with open_to_append(tmp_path / "file") as file:
            file.write(text)
            assert file.tell() == len((tmp_path / "file").read_bytes()) + 1  # not flushed yet
    assert (tmp_path / "file").read_bytes() == b"ab"
