"""Tests of import sources: order of files, patterns, links, special files, and classes and splits in paths."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mdnrnn.data.formats import native
from mdnrnn.data.importing import unpacked
from mdnrnn.data.importing.chunks import ChunkTask, chunk_tasks
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.sources import PathInfo, SplitNames, expand_sources, list_files, walk_folder
from mdnrnn.errors import DataError, InputError
from tests.data.formats.samples import ndjson_line
from tests.data.importing.helpers import SVG
from tests.helpers import random_corpus


def create_files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def relative_files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk_folder(folder)]


def test_files_are_in_the_order_of_names_before_those_in_subfolders(tmp_path: Path) -> None:
    create_files(tmp_path, "b/2", "b/10", "a/z/1", "a/1", "c", "A")
    assert relative_files(tmp_path) == ["A", "c", "a/1", "a/z/1", "b/10", "b/2"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    create_files(tmp_path, ".DS_Store", ".git/x", "a", "b/.hidden", "b/c")
    assert relative_files(tmp_path) == ["a", "b/c"]


def test_corpus_folder_counts_as_a_file(tmp_path: Path) -> None:
    native.write(random_corpus([3]), tmp_path / "b")
    assert relative_files(create_files(tmp_path, "a", "c/1")) == ["a", "b", "c/1"]


def test_links_are_followed_and_each_folder_is_visited_once(tmp_path: Path) -> None:
    create_files(tmp_path, "all/a/1", "elsewhere/2")
    (tmp_path / "all/a/up").symlink_to("..")
    (tmp_path / "all/a/self").symlink_to("self")
    (tmp_path / "all/nowhere").symlink_to("gone")
    (tmp_path / "all/there").symlink_to("../elsewhere")
    (tmp_path / "all/again").symlink_to("../elsewhere")
    (tmp_path / "all/file").symlink_to("a/1")
    (tmp_path / "elsewhere/back").symlink_to("../all")
    assert relative_files(tmp_path / "all") == ["file", "a/1", "again/2"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_ignored_in_folders_and_refused_as_sources(tmp_path: Path) -> None:
    """Reading a pipe would block."""
    os.mkfifo(create_files(tmp_path, "a") / "pipe")
    assert relative_files(tmp_path) == ["a"]
    with pytest.raises(InputError, match="pipe is a pipe or a device; expected a file, or - for JSON lines"):
        list(list_files([tmp_path / "pipe"]))


def test_patterns_are_expanded_in_order(tmp_path: Path) -> None:
    create_files(tmp_path, "b.svg", "a.svg", "c.txt", "d/e.svg")
    assert list(expand_sources([f"{tmp_path}/*.svg"])) == [tmp_path / "a.svg", tmp_path / "b.svg"]
    found = list(expand_sources([f"{tmp_path}/c.txt", f"{tmp_path}/**/*.svg"]))
    assert [path.name for path in found] == ["c.txt", "a.svg", "b.svg", "e.svg"]


NAMES = ["[1].svg", "é 仂", " ", "-x"]
if os.name == "posix":
    NAMES += ["a*", "what?", "two\nlines", 'it\'s "this"']


@pytest.mark.parametrize("name", NAMES)
def test_existing_name_is_not_a_pattern(tmp_path: Path, name: str) -> None:
    create_files(tmp_path, name, "1.svg", "abc")
    assert list(expand_sources([str(tmp_path / name)])) == [tmp_path / name]


@pytest.mark.parametrize("name", ["gone", "*.svg", "two\nlines"])
def test_source_without_files_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    message = "no such file or folder; expected drawings of any known format"
    with pytest.raises(InputError, match=message) as caught:
        list(expand_sources([str(tmp_path / name)]))
    assert "\n" not in str(caught.value)


def test_empty_list_of_sources_is_refused() -> None:
    with pytest.raises(
        InputError, match="sources: received none, expected files, folders, patterns, or - for JSON lines"
    ):
        list(expand_sources([]))


def test_files_are_listed_with_their_source_folder(tmp_path: Path) -> None:
    native.write(random_corpus([3]), tmp_path / "corpus")
    create_files(tmp_path, "folder/a", "b")
    assert list(list_files([tmp_path / "folder", tmp_path / "b", tmp_path / "corpus", Path("-")])) == [
        (tmp_path / "folder" / "a", tmp_path / "folder"),
        (tmp_path / "b", None),
        (tmp_path / "corpus", None),
        (Path("-"), None),
    ]


@pytest.mark.parametrize(
    ("path", "root", "by_file", "expected"),
    [
        ("data/cat/1.svg", "data", False, ("cat", None)),
        ("data/1.svg", "data", False, ("data", None)),
        ("data/cat/1.svg", None, False, ("cat", None)),
        ("data/cat.ndjson", "data", True, ("cat", None)),
        ("data/cat.ndjson", None, True, ("cat", None)),
        ("data/Train/cat/1.svg", "data", False, ("cat", "train")),
        ("data/cat/val/1.svg", "data", False, ("cat", "valid")),
        ("data/testing/1.svg", "data", False, ("data", "test")),
        ("data/cat/test.ndjson", "data", True, (None, "test")),
        ("test/1.svg", None, False, ("test", None)),
        ("test.ndjson", None, True, (None, "test")),
    ],
)
def test_path_names_class_and_split(
    tmp_path: Path, path: str, root: str | None, by_file: bool, expected: tuple[str | None, str | None]
) -> None:
    info = PathInfo.from_path(tmp_path / path, None if root is None else tmp_path / root, by_file=by_file)
    assert info == expected


@pytest.mark.parametrize(
    ("files", "path", "expected"),
    [
        (["cat/1.svg", "train/1.svg", "bus/1.svg"], "train/1.svg", ("train", None)),
        (["cat/1.svg", "val/1.svg"], "cat/1.svg", ("cat", None)),
        (["cat/1.svg", "Test/1.svg"], "Test/1.svg", ("Test", None)),
        (["train/cat/1.svg", "train/train/1.svg", "train/bus/1.svg"], "train/train/1.svg", ("train", "train")),
        (["train/cat/1.svg", "test/train/1.svg"], "test/train/1.svg", ("train", "test")),
        (["train/cat/1.svg", "extra/1.svg"], "train/cat/1.svg", ("cat", "train")),
        (["train/1.svg", "test/1.svg", "extra/1.svg"], "test/1.svg", ("data", "test")),
        (["train/1.svg", "notes/1.txt"], "train/1.svg", ("data", "train")),
        (["cat/train/1.svg", "cat/test/1.svg", "train/train/1.svg"], "train/train/1.svg", ("train", "train")),
        (["train/1.svg"], "train/1.svg", ("data", "train")),
        (["a%2fb/1.svg", "c/1.svg"], "a%2fb/1.svg", ("a/b", None)),
    ],
)
def test_name_of_a_split_beside_class_folders_is_a_class(
    tmp_path: Path, files: list[str], path: str, expected: tuple[str | None, str | None]
) -> None:
    root = create_files(tmp_path / "data", *files)
    assert PathInfo.from_path(root / path, root, by_file=False, split_names=SplitNames([root])) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["cat.bin", "train.bin", "bus.bin"], ("train", None)),
        (["cat.bin", "train.bin", "valid.bin"], (None, "train")),
        (["train.bin", "cat.txt"], (None, "train")),
        (["train.bin"], (None, "train")),
    ],
)
def test_file_with_the_name_of_a_split_beside_others_is_a_class(
    tmp_path: Path, files: list[str], expected: tuple[str | None, str | None]
) -> None:
    """The files beside it are those of its folder or, if files are imported by their own paths, these files."""
    root = create_files(tmp_path / "data", *files)
    info = PathInfo.from_path(root / "train.bin", root, by_file=True, split_names=SplitNames([root]))
    assert info == expected
    names = SplitNames(root / name for name in files)
    assert PathInfo.from_path(root / "train.bin", None, by_file=True, split_names=names) == expected


def test_rule_of_files_is_applied_in_a_class_folder_with_the_name_of_a_split(tmp_path: Path) -> None:
    root = create_files(tmp_path / "data", "cat/a.bin", "train/train.bin", "train/test.bin")
    names = SplitNames([root])
    paths = [root / "train" / f"{name}.bin" for name in ("train", "test")]
    infos = [PathInfo.from_path(path, root, by_file=True, split_names=names) for path in paths]
    assert infos == [PathInfo(None, "train"), PathInfo(None, "test")]


TREES = {
    "class folder with the name of a split": ["cat/1.svg", "train/2.svg", "bus/3.svg"],
    "split and class": ["cat/1.svg", "train/2.svg", "test/3.svg"],
    "classes in splits": ["train/cat/1.svg", "train/train/2.svg", "train/bus/3.svg", "val/cat/4.svg"],
    "splits in classes": ["cat/train/1.svg", "cat/test/2.svg", "train/train/3.svg", "train/test/4.svg"],
    "files of several types": ["train/1.svg", "bus/2.ndjson", "cat/3.ndjson", "train/4.ndjson"],
    "class file with the name of a split": ["cat.ndjson", "train.ndjson", "bus.ndjson"],
    "split file": ["cat.ndjson", "train.ndjson", "valid.ndjson", "folder/1.svg"],
    "files with the names of splits in a class folder": ["train/train.ndjson", "train/test.ndjson", "cat/a.ndjson"],
    "empty folder": ["train/1.svg", "cat/2.svg", "train/empty/", "cat/empty/"],
    "hidden folders": ["train/1.svg", ".test/2.svg", "cat/3.svg", "train/.hidden/4.svg"],
}


def drawing_file(name: str) -> bytes:
    return (SVG.format("M0 0h1") if name.endswith(".svg") else ndjson_line(1)).encode()


def write_tree(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing_file(name))


def write_gzip_tree(folder: Path, names: list[str]) -> None:
    for name in names:
        write_tree(folder, [name])
        if not name.endswith("/"):
            path = folder / name
            packed = path.with_name("1.svgz") if name == "train/1.svg" else path.with_name(f"{path.name}.gz")
            packed.write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()


def write_archive(path: Path, names: list[str], *, compress: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            if name.endswith("/"):
                archive.writestr(zipfile.ZipInfo(name), b"")
            else:
                data = drawing_file(name)
                archive.writestr(f"{name}.gz" if compress else name, gzip.compress(data) if compress else data)


def write_archives_in_a_folder(folder: Path, names: list[str]) -> None:
    """Write an archive for each visible folder at the top, except the first one."""
    tops = sorted({name.partition("/")[0] for name in names if "/" in name})
    write_tree(folder, [name for name in names if "/" not in name or name.startswith(f"{tops[0]}/")])
    for top in tops[1:]:
        if not top.startswith("."):
            write_archive(
                folder / f"{top}.zip", [name.partition("/")[2] for name in names if name.startswith(f"{top}/")]
            )


def write_archive_beside_folders(folder: Path, names: list[str]) -> None:
    """Write every second file to the disk, and the other files to an archive that is unpacked to the same folder."""
    (folder / "all").mkdir(parents=True)
    write_tree(folder / "all", names[::2])
    write_archive(folder / "all.zip", names[1::2])


WAYS: dict[str, Callable[[Path, list[str]], None]] = {
    "gzip files": write_gzip_tree,
    "zip archive": lambda folder, names: write_archive(folder.with_suffix(".zip"), names),
    "gzip files in a zip archive": lambda folder, names: write_archive(
        folder.with_suffix(".zip"), names, compress=True
    ),
    "zip archives in a folder": write_archives_in_a_folder,
    "zip archive beside a folder": write_archive_beside_folders,
}


def read_path_infos(source: Path) -> dict[str, PathInfo]:
    """Return the class and split of each file, by the name of the file without extensions and folders."""
    tasks = [task for task in chunk_tasks([source], Recipe()) if isinstance(task, ChunkTask)]
    return {f"{task.path_info.label} {task.path.name.partition('.')[0]}": task.path_info for task in tasks}


@pytest.mark.parametrize("names", TREES.values(), ids=TREES)
@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
def test_packed_tree_has_the_classes_and_splits_of_the_unpacked_tree(
    write: Callable[[Path, list[str]], None], names: list[str], tmp_path: Path
) -> None:
    write_tree(tmp_path / "unpacked" / "data" / ("all" if write is write_archive_beside_folders else ""), names)
    expected = read_path_infos(tmp_path / "unpacked" / "data")
    write(tmp_path / "packed" / "data", names)
    (packed,) = (tmp_path / "packed").iterdir()
    assert read_path_infos(packed) == expected
    assert len(expected) == sum(not name.endswith("/") and "." not in name[:1] and "/." not in name for name in names)


def test_folder_beside_an_archive_that_is_imported_alone_does_not_matter(tmp_path: Path) -> None:
    write_archive(tmp_path / "data.zip", ["train/1.svg"])
    write_tree(tmp_path / "data", ["cat/2.svg"])
    assert read_path_infos(tmp_path / "data.zip") == {"data 1": PathInfo("data", "train")}


def test_damaged_archive_beside_a_split_is_reported_once(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", ["cat/1.svg", "train/2.svg"])
    (tmp_path / "data" / "bus.zip").write_bytes(b"PK\3\4 damaged")
    tasks = list(chunk_tasks([tmp_path / "data"], Recipe()))
    assert [isinstance(task, ChunkTask) for task in tasks] == [False, True, True]
    assert read_path_infos(tmp_path / "data")["train 2"] == PathInfo("train")


def test_gzip_files_that_are_imported_by_their_own_paths_are_compared(tmp_path: Path) -> None:
    names = ["cat.ndjson", "train.ndjson", "bus.ndjson"]
    write_gzip_tree(tmp_path, names)
    tasks = list(chunk_tasks([tmp_path / f"{name}.gz" for name in names], Recipe()))
    infos = [task.path_info for task in tasks if isinstance(task, ChunkTask)]
    assert infos == [PathInfo("cat"), PathInfo("train"), PathInfo("bus")]


def test_names_in_archives_take_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name can have thousands of folders, each of which would be held in memory."""
    monkeypatch.setattr(unpacked, "_MAX_ENTRIES", 100)
    write_archive(tmp_path / "x.zip", ["train/1.svg", "a/" * 40 + "2.svg", "b/" * 70 + "3.svg"])
    (error,) = (task.error for task in chunk_tasks([tmp_path / "x.zip"], Recipe()) if not isinstance(task, ChunkTask))
    assert isinstance(error, DataError)
    assert "over 100 folders and kinds of files in archives; unpack the archives" in str(error)


def test_archive_with_a_name_of_many_folders_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.zip", ["a/" * 3000 + "1.svg"])
    (task,) = chunk_tasks([tmp_path / "x.zip"], Recipe())
    assert not isinstance(task, ChunkTask)
    assert "a member with a name of 6005 characters; expected at most 4096" in str(task.error)
