"""Atomic writing: a reader finds the old version or the complete new one, and failures leave no temporary files."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mdnrnn.errors import InputError
from mdnrnn.files.atomic import (
    ADVICE,
    atomic_file,
    atomic_path,
    is_temporary,
    make_folder,
    remove_leftovers,
    write_bytes,
    write_json,
)

needs_posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and symbolic links")


def test_file_is_visible_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert is_temporary(temporary)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("invalid"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_error_leaves_the_old_file_and_no_temporary_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")
    expected = InputError if isinstance(error, OSError) else type(error)

    def write() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(expected):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def create_folder(path: Path, advice: str = ADVICE) -> None:
    with atomic_path(path, advice=advice) as folder:
        folder.mkdir()


def test_operating_system_errors_are_one_line_errors(tmp_path: Path) -> None:
    message = r"^cannot write .*none.x: No such file or directory; free some space or choose another path$"
    with pytest.raises(InputError, match=message):
        write_bytes(tmp_path / "none" / "x", b"")
    with pytest.raises(InputError, match=message):
        create_folder(tmp_path / "none" / "x")
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(InputError, match=r"^cannot create the folder .*file.x: .*; choose another path$"):
        make_folder(tmp_path / "file" / "x")


@needs_posix
def test_file_has_the_permissions_of_the_umask_and_replaces_a_symbolic_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"target")
    link.symlink_to(target)
    old = os.umask(0o027)
    try:
        write_bytes(link, b"data")
    finally:
        os.umask(old)
    assert stat.S_IMODE(link.stat().st_mode) == 0o640
    assert not link.is_symlink()
    assert target.read_bytes() == b"target"


def test_json_is_indented_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": 1\n}\n'


def test_folder_is_visible_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "corpus"
    with atomic_path(path) as folder:
        folder.mkdir()
        (folder / "a").write_bytes(b"a")
        (folder.parent / "scratch").write_bytes(b"scratch")
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        assert is_temporary(temporary)
    assert [file.name for file in path.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [path]


def test_file_can_be_created_at_an_atomic_path(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x.npz") as path:
        path.write_bytes(b"data")
    assert (tmp_path / "x.npz").read_bytes() == b"data"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("replace", [False, True])
def test_error_leaves_the_old_folder_and_no_temporary_folder(tmp_path: Path, replace: bool) -> None:
    path = make_folder(tmp_path / "corpus")
    (path / "old").touch()

    def write() -> None:
        with atomic_path(path, replace=replace) as folder:
            folder.mkdir()
            raise ValueError("invalid")

    with pytest.raises(ValueError, match="invalid"):
        write()
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_existing_folder_is_replaced_on_request_only(tmp_path: Path) -> None:
    path = make_folder(tmp_path / "corpus")
    (path / "old").touch()
    with pytest.raises(InputError, match=r"^cannot write .*corpus: .*; delete it$"):
        create_folder(path, advice="delete it")
    assert [file.name for file in path.iterdir()] == ["old"]
    with atomic_path(path, replace=True) as folder:
        folder.mkdir()
        (folder / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_names_start_with_a_dot_and_end_with_tmp() -> None:
    assert is_temporary(Path("folder/.x.json.1a2b.tmp"))
    assert not is_temporary(Path("folder/.hidden"))
    assert not is_temporary(Path("folder/x.tmp"))


def write_leftovers(folder: Path, name: str) -> list[Path]:
    """Write what a killed process leaves of the output `name`: a temporary file and a temporary folder."""
    file, inner = folder / f".{name}.0123abcd.tmp", folder / f".{name}.4567cdef.tmp"
    file.write_bytes(b"half")
    inner.mkdir()
    (inner / name).write_bytes(b"half")
    return [file, inner]


@needs_posix
@pytest.mark.parametrize("write", [lambda path: write_bytes(path, b"new"), create_folder], ids=["file", "folder"])
def test_next_call_deletes_what_a_killed_process_left_of_the_same_output(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write_leftovers(tmp_path, "x")
    other = write_leftovers(tmp_path, "x.y")
    write(tmp_path / "x")
    assert set(tmp_path.iterdir()) == {tmp_path / "x", *other}


@needs_posix
def test_temporary_files_of_running_processes_are_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with atomic_file(path) as file, atomic_path(tmp_path / "y") as folder:
        folder.mkdir()
        remove_leftovers(tmp_path, "x|y")
        write_bytes(path, b"other process")
        file.write(b"data")
    assert path.read_bytes() == b"data"
    assert (tmp_path / "y").is_dir()
    assert len(list(tmp_path.iterdir())) == 2


@needs_posix
def test_links_and_files_with_similar_names_are_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    (tmp_path / ".x.0123abcd.tmp").symlink_to(target)
    os.mkfifo(tmp_path / ".x.1111abcd.tmp")
    for name in (".x.notes.tmp", ".x.tmp", "x.0123abcd.tmp", ".x.0123abcd", ".xx.0123abcd.tmp"):
        (tmp_path / name).touch()
    before = set(tmp_path.iterdir())
    remove_leftovers(tmp_path, "x")
    assert set(tmp_path.iterdir()) == before
    assert (target / "file").exists()
    leftovers = set(write_leftovers(tmp_path, "y"))
    with monkeypatch.context() as context:
        context.setattr(os, "geteuid", lambda: 12345)  # the leftovers belong to another user
        remove_leftovers(tmp_path, "y")
    assert set(tmp_path.iterdir()) == before | leftovers
    remove_leftovers(tmp_path, "y")
    assert set(tmp_path.iterdir()) == before
