"""What patterns and folders name: every file once, in an order that stays, whatever links and names there are."""

import os
from pathlib import Path

import pytest

from mdnrnn.data.formats import native
from mdnrnn.data.importing.sources import expand_sources, list_files, walk_folder
from mdnrnn.errors import InputError
from tests.helpers import random_corpus


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def below(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in walk_folder(folder)]


def test_a_folder_is_read_in_the_order_of_names_its_own_files_first(tmp_path: Path) -> None:
    make(tmp_path, "b/2", "b/10", "a/z/1", "a/1", "c", "A")
    assert below(tmp_path) == ["A", "c", "a/1", "a/z/1", "b/10", "b/2"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    assert below(make(tmp_path, ".DS_Store", ".git/x", "a", "b/.hidden", "b/c")) == ["a", "b/c"]


def test_a_corpus_in_a_folder_is_one(tmp_path: Path) -> None:
    native.write(random_corpus([3]), tmp_path / "b")
    assert below(make(tmp_path, "a", "c/1")) == ["a", "b", "c/1"]


def test_links_are_followed_and_loops_of_them_end(tmp_path: Path) -> None:
    make(tmp_path, "all/a/1", "elsewhere/2")
    (tmp_path / "all/a/up").symlink_to("..")
    (tmp_path / "all/a/self").symlink_to("self")
    (tmp_path / "all/nowhere").symlink_to("gone")
    (tmp_path / "all/there").symlink_to("../elsewhere")
    (tmp_path / "all/again").symlink_to("../elsewhere")
    (tmp_path / "all/file").symlink_to("a/1")
    (tmp_path / "elsewhere/back").symlink_to("../all")
    assert below(tmp_path / "all") == ["file", "a/1", "again/2"]


def test_pipes_are_passed_over_in_folders_and_refused_by_name(tmp_path: Path) -> None:
    """Opened, they would be waited for."""
    os.mkfifo(make(tmp_path, "a") / "pipe")
    assert below(tmp_path) == ["a"]
    with pytest.raises(InputError, match="pipe: is a pipe or a device; expected a file, or - for lines"):
        list(list_files([tmp_path / "pipe"]))


def test_patterns_are_expanded_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.svg", "a.svg", "c.txt", "d/e.svg")
    assert list(expand_sources([f"{tmp_path}/*.svg"])) == [tmp_path / "a.svg", tmp_path / "b.svg"]
    found = list(expand_sources([f"{tmp_path}/c.txt", f"{tmp_path}/**/*.svg"]))
    assert [path.name for path in found] == ["c.txt", "a.svg", "b.svg", "e.svg"]


@pytest.mark.parametrize("name", ["[1].svg", "a*", "what?", "two\nlines", 'it\'s "this"', "é 仂", " ", "-x"])
def test_a_name_that_is_there_is_no_pattern(tmp_path: Path, name: str) -> None:
    make(tmp_path, name, "1.svg", "abc")
    assert list(expand_sources([str(tmp_path / name)])) == [tmp_path / name]


@pytest.mark.parametrize("name", ["gone", "*.svg", "two\nlines"])
def test_what_names_nothing_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no such file or folder; expected drawings of any known format") as told:
        list(expand_sources([str(tmp_path / name)]))
    assert "\n" not in str(told.value)


def test_no_sources_are_told() -> None:
    with pytest.raises(InputError, match="nothing to import; expected files, folders, patterns, or - for lines"):
        list(expand_sources([]))


def test_the_folder_that_a_file_was_met_in_is_known(tmp_path: Path) -> None:
    native.write(random_corpus([3]), tmp_path / "corpus")
    make(tmp_path, "folder/a", "b")
    assert list(list_files([tmp_path / "folder", tmp_path / "b", tmp_path / "corpus", Path("-")])) == [
        (tmp_path / "folder" / "a", tmp_path / "folder"),
        (tmp_path / "b", None),
        (tmp_path / "corpus", None),
        (Path("-"), None),
    ]
