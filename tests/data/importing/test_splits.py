"""Tests of the assignment of drawings to splits: by hash, by lists of keys, by time and by the source files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.drawings import DrawingBatch, Record
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.splits import assign_splits
from mdnrnn.data.metadata import SPLITS
from mdnrnn.errors import InputError
from tests.data.formats.samples import ndjson_line, object_array, pack_quickdraw
from tests.data.importing.helpers import import_files, splits_by_number, write_text


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(40)), st.integers(1, 39))
def test_split_does_not_depend_on_the_other_drawings(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], count: int
) -> None:
    folder = tmp_path_factory.mktemp("x")
    keys = {i: {"key_id": str(i)} if i % 2 else {} for i in range(40)}
    all_drawings = write_text(folder / "all.ndjson", "".join(ndjson_line(i, **keys[i]) for i in range(40)))
    subset = write_text(folder / "subset.ndjson", "".join(ndjson_line(i, **keys[i]) for i in order[:count]))
    recipe = Recipe(split="0.4,0.3,0.3")
    expected = splits_by_number(import_files(all_drawings, recipe)[0])
    assert splits_by_number(import_files(subset, recipe)[0]) == {i: expected[i] for i in order[:count]}


def test_equal_keys_have_the_same_split_in_every_format(tmp_path: Path) -> None:
    keys = [5_000_000_000_000_000 + 7 * i for i in range(1, 200)]
    lines = "".join(ndjson_line(i, key_id=str(key)) for i, key in enumerate(keys, 1))
    ndjson_file = write_text(tmp_path / "x.ndjson", lines)
    (tmp_path / "x.bin").write_bytes(pack_quickdraw([(key, [[(9, 9), (9 + i, 0)]]) for i, key in enumerate(keys, 1)]))
    recipe = Recipe(split="0.5,0.25,0.25")
    first, second = (splits_by_number(import_files(path, recipe)[0]) for path in (ndjson_file, tmp_path / "x.bin"))
    assert first == second
    assert {split for splits in first.values() for split in splits} == set(SPLITS)


def test_duplicates_have_the_same_split(tmp_path: Path) -> None:
    """Drawings with equal keys, and drawings without keys whose points are equal up to a translation."""
    same_key = "".join(ndjson_line(i + 1000 * copy, key_id=str(i)) for i in range(1, 100) for copy in (0, 1))
    shifted = "".join(
        json.dumps({"drawing": [[[5 * copy, i + 5 * copy], [copy, 1 + copy]]]}) + "\n"
        for i in range(100, 200)
        for copy in (0, 1)
    )
    corpus, _ = import_files(write_text(tmp_path / "x.ndjson", same_key + shifted), Recipe(split="0.4,0.3,0.3"))
    splits = splits_by_number(corpus)
    assert all(splits[i] == splits[i + 1000] for i in range(1, 100))
    assert all(len(splits[i]) == 2 and splits[i][0] == splits[i][1] for i in range(100, 200))


def test_geometric_options_do_not_change_splits(tmp_path: Path) -> None:
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(1, 256)))
    plain, _ = import_files(source, Recipe(split="0.4,0.3,0.3"))
    simplified, _ = import_files(source, Recipe(split="0.4,0.3,0.3", simplify=0.1, resample=300.0))
    assert splits_by_number(simplified) == splits_by_number(plain)


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.05), (0.5, 0.25, 0.25), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])
def test_splits_have_requested_shares(tmp_path: Path, shares: tuple[float, ...]) -> None:
    """Within four standard deviations. The hash is deterministic, so the test cannot fail at random."""
    count = 4000
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(count)))
    corpus, _ = import_files(source, Recipe(split=",".join(map(str, shares))))
    for (first, last), share in zip(corpus.splits.values(), shares, strict=True):
        assert abs((last - first) - count * share) <= 4 * math.sqrt(count * share * (1 - share))


def test_splits_of_the_file_are_kept_unless_shares_are_given(tmp_path: Path) -> None:
    first_numbers = dict(zip(SPLITS, (1, 101, 201), strict=True))
    records = {
        split: object_array(*(np.array([[i, 1, 1]], np.int16) for i in range(first, first + 20)))
        for split, first in first_numbers.items()
    }
    np.savez(tmp_path / "x.npz", **records)
    expected = {i: [split] for split, first in first_numbers.items() for i in range(first, first + 20)}
    assert splits_by_number(import_files(tmp_path / "x.npz")[0]) == expected
    all_train = splits_by_number(import_files(tmp_path / "x.npz", Recipe(split="1,0,0"))[0])
    assert all_train == {i: ["train"] for i in expected}


@pytest.mark.parametrize(
    ("rows", "split", "record_split", "folder_split", "expected"),
    [
        (1000, "0.8,0.1,0.1", None, None, {"train": 800, "valid": 100, "test": 100}),
        (1000, None, None, None, {"train": 900, "valid": 50, "test": 50}),
        (1000, "0.5,0.5,0", None, "test", {"train": 500, "valid": 500}),
        (1000, "0.5,0.5,0", "test", None, {"train": 500, "valid": 500}),
        (1000, None, "valid", None, {"valid": 1000}),
        (1000, None, None, "test", {"test": 1000}),
        (499, "0,1,0", None, None, {"valid": 499}),
        (499, "1,0,0", "test", "valid", {"train": 499}),
    ],
    ids=[
        "shares",
        "default shares",
        "shares override the folder",
        "shares override the file",
        "split of the file",
        "split of the folder",
        "short",
        "short, shares override the file",
    ],
)
def test_long_streams_are_divided_by_time(
    rows: int, split: str | None, record_split: str | None, folder_split: str | None, expected: dict[str, int]
) -> None:
    stream = np.arange(2.0 * rows).reshape(-1, 2)
    drawings = DrawingBatch.from_polylines([([stream], Record("x", split=record_split))])
    result = assign_splits(drawings, split, folder_split, is_stream=True)
    assert {record.split: len(result.polylines(i)[0]) for i, record in enumerate(result.records)} == expected
    np.testing.assert_array_equal(result.points, stream)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train=absent.txt", "cannot be read"),
        ("train=both.txt,test=both.txt", "'a01-000u' is listed for train and for test"),
        ("learn=both.txt", "expected train=FILE, valid=FILE or test=FILE"),
        ("valid=empty.txt", "no keys; expected one key per line"),
    ],
    ids=["missing file", "key in two splits", "unknown split", "empty file"],
)
def test_invalid_lists_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("both.txt").write_text("a01-000u")
    Path("empty.txt").touch()
    with pytest.raises(InputError, match=message):
        Recipe(split=split.replace("both", str(tmp_path / "both")).replace("empty", str(tmp_path / "empty")))


@pytest.mark.shared
def test_drawings_in_two_files_of_quickdraw_have_the_same_split(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "quickdraw"
    sources = [folder / "simplified", folder / "simplified_cat_dog_monkey_yoga.bin"]
    report = import_corpus(sources, tmp_path / "out", Recipe(split="0.5,0.25,0.25"))
    corpus = pipeline.read(tmp_path / "out")
    corpus.check()
    assert not report.dropped
    assert corpus.metadata.bin_width == 1
    splits: dict[bytes, set[str]] = {}
    for split in SPLITS:
        for i in range(*corpus.splits[split]):
            splits.setdefault(corpus[i].motion.tobytes() + corpus[i].event.tobytes(), set()).add(split)
    assert len(splits) < len(corpus)
    assert all(len(found) == 1 for found in splits.values())
