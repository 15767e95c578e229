"""From files to a corpus: every drawing is kept or counted, in its place, whatever the order, the size, the number of
processes; and what fails leaves nothing."""

import io
import json
import math
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import SPLITS, Corpus, Sequence, pack
from mdnrnn.data.formats import ndjson, svg_writer
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.builder import Builder
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.report import Report
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import DataError, InputError
from tests.data.formats.samples import ndjson_line, object_array, pack_quickdraw

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path fill="none" stroke="black" d="{}"/></svg>'


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def imported(sources: Path | list[Path], recipe: Recipe | None = None, **options: Any) -> tuple[Corpus, Report]:
    """The corpus of some files, and the report, which adds up."""
    sources = [sources] if isinstance(sources, Path) else sources
    out = sources[0].parent / f"out{len(list(sources[0].parent.glob('out*')))}"
    report = import_corpus(sources, out, recipe, **options)
    corpus = pipeline.read(out)
    corpus.check()
    assert report.read == report.kept + sum(count for count, _ in report.dropped.values())
    assert (report.kept, report.points) == (len(corpus), len(corpus.event))
    assert report.splits == {split: last - first for split, (first, last) in corpus.splits.items()}
    return corpus, report


def places(corpus: Corpus) -> dict[int, list[str]]:
    """The splits in which the drawings of each number stand."""
    found: dict[int, list[str]] = {}
    for split in SPLITS:
        for i in range(*corpus.splits[split]):
            found.setdefault(int(corpus[i].motion[0, 0]), []).append(split)
    return found


def classes(corpus: Corpus) -> dict[int, str]:
    """The class of the drawing of each number."""
    label = corpus.label
    assert label is not None
    return {int(corpus[i].motion[0, 0]): corpus.metadata.classes[int(label[i])] for i in range(len(corpus))}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Order, processes, memory.


def test_the_corpus_is_the_same_for_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every byte, and the report with it: dozens of chunks, from files of three formats, some lines bad."""
    monkeypatch.setattr(ndjson, "CHUNK_BYTES", 500)
    for name in ("cat", "dog"):
        lines = [ndjson_line(i, word=name, key_id=f"{name}{i}") if i % 50 else "no\n" for i in range(300)]
        write(tmp_path / "data" / f"{name}.ndjson", "".join(lines))
    (tmp_path / "data" / "owl.bin").write_bytes(pack_quickdraw([(i, [[(0, 0), (i, 1)]]) for i in range(1, 99)]))
    write(tmp_path / "data" / "x.svg", SVG.format("M0 0L7 1"))
    reports = [
        import_corpus([tmp_path / "data"], tmp_path / str(workers), name="x", workers=workers) for workers in (1, 2)
    ]
    assert reports[0] == reports[1]
    assert reports[0].kept == 2 * 294 + 98 + 1
    assert content(tmp_path / "1") == content(tmp_path / "2")


@pytest.mark.parametrize("out", ["one", "one.npz"])
def test_the_same_import_is_the_same_bytes(tmp_path: Path, out: str) -> None:
    source = write(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(50)))
    for folder in ("a", "b"):
        import_corpus([source], tmp_path / folder / out)
    one, other = tmp_path / "a" / out, tmp_path / "b" / out
    assert content(tmp_path / "a") == content(tmp_path / "b") if one.is_file() else content(one) == content(other)


def test_drawings_stand_in_the_order_of_the_files(tmp_path: Path) -> None:
    write(tmp_path / "data" / "b.ndjson", ndjson_line(3) + ndjson_line(4))
    write(tmp_path / "data" / "a.ndjson", ndjson_line(1) + ndjson_line(2))
    write(tmp_path / "data" / "sub" / "c.ndjson", ndjson_line(5))
    corpus, _ = imported(tmp_path / "data", Recipe(split="1,0,0"))
    assert corpus.motion[:, 0].tolist() == [1, 2, 3, 4, 5]


_PEAK = """
import re, sys
from mdnrnn.data.importing.pipeline import import_corpus
report = import_corpus([sys.argv[1]], sys.argv[2])
print(report.kept, int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) >> 10)
"""
"""Not ru_maxrss: it counts what the process that started this one had."""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".ndjson", ".bin", ".npz"])
def test_memory_does_not_grow_with_the_data(tmp_path: Path, ending: str) -> None:
    """Twenty times the drawings within 60 MB of the peak."""
    points = [(i * 37 % 256, i * 91 % 256) for i in range(60)]
    xs, ys = zip(*points, strict=True)
    peaks = []
    for count in (10_000, 200_000):
        path = tmp_path / f"{count}{ending}"
        if ending == ".npz":
            rows = np.column_stack([np.diff(points, axis=0), np.zeros(59)]).astype(np.int16)
            np.savez(path, train=object_array(*(rows.copy() for _ in range(count))))
        else:
            record = json.dumps({"word": "cat", "drawing": [[xs, ys]] * 3}).encode() + b"\n"
            with path.open("wb") as file:
                for number in range(count):
                    file.write(record if ending == ".ndjson" else pack_quickdraw([(number, [points] * 3)]))
        command = [sys.executable, "-c", _PEAK, str(path), str(tmp_path / f"out{count}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        kept, peak = map(int, done.stdout.split())
        assert kept == count
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 60


# Splits.


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.permutations(range(40)), st.integers(1, 39))
def test_a_drawing_keeps_its_split_when_data_are_added_or_come_in_another_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], count: int
) -> None:
    folder = tmp_path_factory.mktemp("x")
    keys = {i: {"key_id": str(i)} if i % 2 else {} for i in range(40)}
    everything = write(folder / "all.ndjson", "".join(ndjson_line(i, **keys[i]) for i in range(40)))
    some = write(folder / "some.ndjson", "".join(ndjson_line(i, **keys[i]) for i in order[:count]))
    recipe = Recipe(split="0.4,0.3,0.3")
    whole, part = places(imported(everything, recipe)[0]), places(imported(some, recipe)[0])
    assert part == {i: whole[i] for i in order[:count]}


def test_the_same_key_is_in_the_same_split_in_every_format(tmp_path: Path) -> None:
    keys = [5_000_000_000_000_000 + 7 * i for i in range(1, 200)]
    lines = write(tmp_path / "x.ndjson", "".join(ndjson_line(i, key_id=str(key)) for i, key in enumerate(keys, 1)))
    (tmp_path / "x.bin").write_bytes(pack_quickdraw([(key, [[(9, 9), (9 + i, 0)]]) for i, key in enumerate(keys, 1)]))
    recipe = Recipe(split="0.5,0.25,0.25")
    found = [places(imported(path, recipe)[0]) for path in (lines, tmp_path / "x.bin")]
    assert found[0] == found[1]
    assert {split for splits in found[0].values() for split in splits} == set(SPLITS)


def test_what_is_there_twice_is_in_one_split(tmp_path: Path) -> None:
    """By its key, whatever its points; without a key, by its points, wherever they stand and whatever is done to
    them."""
    same_key = "".join(ndjson_line(i + 1000 * again, key_id=str(i)) for i in range(1, 100) for again in (0, 1))
    shifted = "".join(
        json.dumps({"drawing": [[[5 * again, i + 5 * again], [again, 1 + again]]]}) + "\n"
        for i in range(100, 200)
        for again in (0, 1)
    )
    corpus, _ = imported(write(tmp_path / "x.ndjson", same_key + shifted), Recipe(split="0.4,0.3,0.3"))
    found = places(corpus)
    assert all(found[i] == found[i + 1000] for i in range(1, 100))
    assert all(len(found[i]) == 2 and found[i][0] == found[i][1] for i in range(100, 200))


def test_what_is_done_to_a_drawing_does_not_move_it(tmp_path: Path) -> None:
    source = write(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(1, 256)))
    plain, _ = imported(source, Recipe(split="0.4,0.3,0.3"))
    simplified, _ = imported(source, Recipe(split="0.4,0.3,0.3", simplify=0.1, resample=300.0))
    assert places(simplified) == places(plain)


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.05), (0.5, 0.25, 0.25), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])
def test_splits_have_their_shares(tmp_path: Path, shares: tuple[float, ...]) -> None:
    """Within four standard deviations; the hash is fixed, so that it holds once and for all."""
    count = 4000
    source = write(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(count)))
    corpus, _ = imported(source, Recipe(split=",".join(map(str, shares))))
    for (first, last), share in zip(corpus.splits.values(), shares, strict=True):
        assert abs((last - first) - count * share) <= 4 * math.sqrt(count * share * (1 - share))


def test_the_splits_of_a_file_are_kept_unless_others_are_asked_for(tmp_path: Path) -> None:
    records = {
        split: object_array(*(np.array([[i, 1, 1]], np.int16) for i in range(start, start + 20)))
        for start, split in zip((1, 101, 201), SPLITS, strict=True)
    }
    np.savez(tmp_path / "x.npz", **records)
    kept = places(imported(tmp_path / "x.npz")[0])
    assert kept == {
        i: [split] for start, split in zip((1, 101, 201), SPLITS, strict=True) for i in range(start, start + 20)
    }
    again = places(imported(tmp_path / "x.npz", Recipe(split="1,0,0"))[0])
    assert again == {i: ["train"] for i in kept}


# Classes.

FOLDERS = {"cat/1.svg": 1, "cat/2.svg": 2, "dog/1.svg": 3}


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Drawings in folders of their classes."""
    for name, number in FOLDERS.items():
        write(tmp_path / "data" / name, SVG.format(f"M0 0L{number} 1"))
    return tmp_path / "data"


def test_folders_of_drawings_are_classes(drawn: Path) -> None:
    corpus, report = imported(drawn)
    assert corpus.metadata.classes == ("cat", "dog")
    assert classes(corpus) == {1: "cat", 2: "cat", 3: "dog"}
    assert report.classes == 2


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("folder", {1: "cat", 2: "cat", 3: "dog"}),
        ("file", {1: "1", 2: "2", 3: "1"}),
        ("none", None),
        ("record", None),
    ],
)
def test_classes_come_from_where_they_are_asked_for(drawn: Path, labels: Any, expected: dict[int, str] | None) -> None:
    corpus, _ = imported(drawn, Recipe(labels=labels))
    assert (corpus.label is None) == (expected is None)
    if expected:
        assert classes(corpus) == expected


def test_a_single_folder_or_file_is_no_class(drawn: Path, tmp_path: Path) -> None:
    assert imported(drawn / "cat")[0].label is None
    assert imported(write(tmp_path / "x.ndjson", ndjson_line(1)))[0].label is None


def test_several_archives_are_classes_by_their_names(tmp_path: Path) -> None:
    for number, name in enumerate(("sheep", "kanji"), 1):
        np.savez(tmp_path / f"{name}.npz", train=object_array(np.array([[number, 1, 1]], np.int16)))
    corpus, _ = imported([tmp_path / "sheep.npz", tmp_path / "kanji.npz"])
    assert corpus.metadata.classes == ("kanji", "sheep")
    assert classes(corpus) == {1: "sheep", 2: "kanji"}


def test_a_record_says_its_class_before_its_file_does(tmp_path: Path) -> None:
    write(tmp_path / "data" / "dog.ndjson", ndjson_line(1, word="cat") + ndjson_line(2))
    corpus, _ = imported(tmp_path / "data")
    assert classes(corpus) == {1: "cat", 2: "dog"}
    corpus, _ = imported(tmp_path / "data", Recipe(labels="record"))
    assert classes(corpus) == {1: "cat", 2: "unlabeled"}
    corpus, _ = imported(tmp_path / "data", Recipe(labels="file"))
    assert classes(corpus) == {1: "dog", 2: "dog"}


# Texts and metadata.


@pytest.mark.parametrize("text", ["quick brown", "Zwölf 仂 🦊", " two\nlines\t", 'a <b> & "c"'])
def test_what_is_written_in_a_drawing_survives(tmp_path: Path, text: str) -> None:
    for number, inside in enumerate(
        (svg_writer.format_svg([np.array([[0.0, 0], [1, 1]])], text), SVG.format("M0 0L2 1"))
    ):
        write(tmp_path / "data" / f"{number}.svg", inside)
    corpus, _ = imported(tmp_path / "data", Recipe(split="1,0,0"))
    assert [corpus[i].text for i in range(2)] == [text, ""]


def test_a_corpus_without_texts_has_none(drawn: Path) -> None:
    corpus, _ = imported(drawn)
    assert corpus.text is None
    assert corpus[0].text is None


@pytest.mark.parametrize(
    ("drawing", "recipe", "bin_width", "dtype"),
    [
        ([[[0, 7], [0, 1]]], Recipe(), 1, np.int16),
        ([[[0, 70_000], [0, 1]]], Recipe(), 1, np.int32),
        ([[[0, 7.5], [0, 1]]], Recipe(), None, np.float32),
        ([[[0, 7.5], [0, 1]]], Recipe(grid=0.25), 0.25, np.float32),
        ([[[0, 7.5], [0, 1]]], Recipe(box=255), 1, np.int16),
        ([[[0, 7.5], [0, 1.3]]], Recipe(box=255, grid=0), None, np.float32),
        ([[[0, 7.5], [0, 1.3]]], Recipe(box=255, grid=0.01), 0.01, np.float32),
        ([[[0, 7.5], [0, 1]]], Recipe(grid=5), 5, np.int16),
        ([[[0, 3000.7], [0, 1]]], Recipe(grid=0.001), 0.001, np.float32),
    ],
    ids=lambda value: "" if isinstance(value, list | type) else str(value).replace("None", "continuous"),
)
def test_the_quantum_is_the_grid_that_all_points_lie_on(
    tmp_path: Path, drawing: Any, recipe: Recipe, bin_width: float | None, dtype: Any
) -> None:
    """And the corpus bears the check that they do."""
    corpus, _ = imported(write(tmp_path / "x.ndjson", json.dumps({"drawing": drawing})), recipe)
    assert corpus.metadata.bin_width == bin_width
    assert corpus.motion.dtype == dtype


GRIDS: dict[str, tuple[Recipe, float | None]] = {
    "a pixel": (Recipe(), 1 / 1024),
    "a grid": (Recipe(grid=0.01), 0.01),
    "a box": (Recipe(box=255), 1.0),
    "a small box": (Recipe(box=2), None),
    "no grid": (Recipe(grid=0), None),
}


@pytest.mark.parametrize(("recipe", "bin_width"), GRIDS.values(), ids=GRIDS.keys())
def test_places_of_touches_lie_on_a_grid_and_their_times_on_none(
    tmp_path: Path, recipe: Recipe, bin_width: float | None
) -> None:
    rows = np.array([[0.123, 0.2, 0.5, 0], [0.7, 0.4, 0.333, 1], [0.7, 0.4, 0.25, 1], [0.9, 0.8, 0.25, 0]])
    np.savez(tmp_path / "x.npz", raw_perfs=object_array(rows))
    corpus, _ = imported(tmp_path / "x.npz", recipe)
    assert corpus.metadata.features == ("dx", "dy", "dt")
    assert corpus.metadata.bin_width == bin_width
    assert len(corpus.event) == 4  # a touch that stays where it is, is one, too
    np.testing.assert_allclose(corpus.motion[1:, 2], [0.333, 0.25, 0.25], rtol=1e-5)
    corpus.check()


@pytest.mark.parametrize(("values", "bin_width"), [(127.0, 1.0), (127 / 128, 1 / 128), (0.3, None)])
def test_values_of_a_stream_lie_on_the_coarsest_grid_that_holds_them_all(
    tmp_path: Path, values: float, bin_width: float | None
) -> None:
    rows = np.array([[0.5, 0.0, values], [0.25, 1.0, values], [0.33, 2.0, 0.0]])
    np.savez(tmp_path / "x.npz", perfs=object_array(rows))
    corpus, _ = imported(tmp_path / "x.npz")
    assert corpus.metadata.features == ("dt", "x1", "x2")
    assert corpus.metadata.bin_width == bin_width
    corpus.check()


def test_times_that_stand_still_are_an_error() -> None:
    metadata = Metadata(name="x", start="up", features=("dx", "dy", "dt"))
    motion = np.array([[0, 0, 0.0], [1, 0, 0.5], [2, 0, 0.0]])
    corpus = pack(metadata, {"train": [Sequence(motion, np.array([0, 0, 2]))]})
    with pytest.raises(
        InputError, match=r"in row 2; expected finite numbers, times above 0 \(in a first row 0 or more\)"
    ):
        corpus.check()


def test_a_corpus_that_is_imported_again_says_the_same_of_itself(tmp_path: Path) -> None:
    source = write(tmp_path / "x.ndjson", "".join(ndjson_line(i, word="cat") for i in range(1, 30)))
    import_corpus([source], tmp_path / "a", Recipe(grid=0.5), name="mine", license="CC0", source="me")
    corpus, _ = imported(tmp_path / "a", name="mine")
    assert corpus.fingerprint == pipeline.read(tmp_path / "a").fingerprint


# Geometry.

point = st.tuples(st.integers(-2000, 2000), st.integers(-2000, 2000))
drawings = st.lists(st.lists(st.lists(point, min_size=1, max_size=8), min_size=1, max_size=3), min_size=1, max_size=5)


def drawn_lines(folder: Path, drawn: list[list[list[tuple[int, int]]]]) -> Path:
    records = [{"drawing": [list(zip(*stroke, strict=True)) for stroke in drawing]} for drawing in drawn]
    return write(folder / "x.ndjson", "".join(json.dumps(record) + "\n" for record in records))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(drawings, st.sampled_from([255, 100, 64.0]))
def test_in_a_box_the_longer_side_is_the_box(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], side: float
) -> None:
    source = drawn_lines(tmp_path_factory.mktemp("x"), drawn)
    corpus, _ = imported(source, Recipe(box=side, split="1,0,0"))
    for i, drawing in enumerate(drawn):
        points = np.concatenate(corpus.drawing(i))
        extent = np.ptp(np.concatenate([np.array(stroke) for stroke in drawing]), axis=0)
        assert np.ptp(points, axis=0).max() == (side if extent.max() else 0)
        assert (points == np.rint(points)).all()


def distance(points: np.ndarray, stroke: np.ndarray) -> float:
    """The largest distance of points (n, 2) to a polyline (m, 2)."""
    starts, spans = stroke[:-1], np.diff(stroke, axis=0)
    if not len(spans):
        return float(np.hypot(*(points - stroke[0]).T).max())
    squares = np.maximum((spans**2).sum(1), 1e-300)
    along = np.clip(((points[:, None] - starts) * spans).sum(2) / squares, 0, 1)
    feet = starts + along[..., None] * spans
    return float(np.hypot(*np.moveaxis(points[:, None] - feet, 2, 0)).min(1).max())


@settings(derandomize=True, deadline=None, max_examples=40)
@given(drawings, st.sampled_from([1.0, 5.0, 40.0]), st.sampled_from([0.5, 2.0, 20.0]))
def test_what_is_resampled_and_simplified_stays_within_the_tolerance(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], spacing: float, epsilon: float
) -> None:
    """Its points lie on the drawing, up to rounding; the drawing's lie by its lines, up to the tolerance, half a
    spacing, by which a corner may be cut, and rounding."""
    source = drawn_lines(tmp_path_factory.mktemp("x"), drawn)
    recipe = Recipe(resample=spacing, simplify=epsilon, grid=1, split="1,0,0")
    corpus, _ = imported(source, recipe)
    rounding = math.sqrt(0.5) + 1e-6
    for i, drawing in enumerate(drawn):
        origin = np.array(drawing[0][0])
        for stroke, found in zip(drawing, corpus.drawing(i), strict=True):
            original = np.array(stroke, float) - origin
            assert distance(found, original) <= rounding
            assert distance(original, found) <= epsilon + spacing / 2 + rounding


# What is left out.


def test_limits_on_points_are_counted_with_their_place(tmp_path: Path) -> None:
    records = [{"drawing": [[list(range(n)), list(range(n))]]} for n in (2, 3, 4, 5, 6)]
    source = write(tmp_path / "x.ndjson", "".join(json.dumps(record) + "\n" for record in records))
    corpus, report = imported(source, Recipe(min_points=2, max_points=4))
    assert sorted(corpus.lengths.tolist()) == [2, 3, 4]
    assert report.dropped == {
        "fewer than 2 points": (1, f"{source}, line 1 has 1"),
        "more than 4 points": (1, f"{source}, line 5 has 5"),
    }
    with pytest.raises(DataError, match=r"no drawings in it; the first one dropped.*line 1 has 1"):
        imported(source, Recipe(min_points=100))


@pytest.mark.parametrize("limit", [1, 7, 10, 25, 1000])
def test_a_limit_keeps_the_first_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(ndjson, "CHUNK_BYTES", 200)
    source = write(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(1, 31)))
    corpus, report = imported(source, Recipe(limit=limit))
    assert sorted(places(corpus)) == list(range(1, min(limit, 30) + 1))
    assert report.kept == min(limit, 30)


def test_a_limit_is_not_spent_on_what_is_dropped(tmp_path: Path) -> None:
    source = write(tmp_path / "x.ndjson", "no\n" * 3 + "".join(ndjson_line(i) for i in range(1, 9)))
    corpus, report = imported(source, Recipe(limit=5))
    assert sorted(places(corpus)) == [1, 2, 3, 4, 5]
    assert report.dropped["not JSON"][0] == 3


def test_drops_are_counted_by_reason_and_the_first_place_of_each_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ndjson, "CHUNK_BYTES", 100)
    a = write(tmp_path / "a.ndjson", ndjson_line(1) + '{"drawing":[]}\n' + "no\n" + ndjson_line(2))
    b = write(tmp_path / "b.ndjson", ndjson_line(3) + '{"drawing":[[[1e999],[0]]]}\n' + "no\n" + '{"drawing":[]}\n')
    _, report = imported([a, b])
    assert {reason: count for reason, (count, _) in report.dropped.items()} == {
        "empty": 2,
        "not JSON": 2,
        "not finite": 1,
    }
    assert (report.files, report.read, report.kept) == (2, 8, 3)
    assert report.dropped["empty"][1] == f"{a}, line 2 has no points"
    assert report.dropped["not JSON"][1].startswith(f"{a}, line 3: ")
    assert report.dropped["not finite"][1].startswith(f"{b}, line 2 ")


def test_quantiles_are_those_of_numpy(tmp_path: Path) -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 60, 101)]
    records = [{"drawing": [[list(range(n + 1)), list(range(n + 1))]]} for n in lengths]
    source = write(tmp_path / "x.ndjson", "".join(json.dumps(record) + "\n" for record in records))
    _, report = imported(source)
    expected = {f"{q}%": int(np.percentile(lengths, q, method="inverted_cdf")) for q in (0, 5, 50, 95, 100)}
    assert report.lengths == expected


def test_a_malformed_record_is_an_error_where_a_file_is_opened_as_it_is(tmp_path: Path) -> None:
    source = write(tmp_path / "x.ndjson", ndjson_line(1) + '{"drawing":[]}\n' + "no\n")
    with pytest.raises(
        DataError, match=r"x\.ndjson, line 3: .*; correct it, or use mdnrnn data import, which drops it"
    ):
        pipeline.read(source)
    write(source, ndjson_line(1) + '{"drawing":[]}\n')
    assert pipeline.read(source).skipped == {"empty": 1}


# Files.


def test_a_bad_file_is_an_error_or_counted(tmp_path: Path) -> None:
    write(tmp_path / "data" / "good.ndjson", ndjson_line(1))
    for name in ("bad.svg", "worse.inkml"):
        write(tmp_path / "data" / name, "<svg" if name == "bad.svg" else "")
    (tmp_path / "data" / "cut.bin").write_bytes(pack_quickdraw([(1, [[(0, 0), (2, 1)]]), (2, [[(1, 1)]])])[:-1])
    with pytest.raises(DataError, match=r"bad\.svg"):
        imported(tmp_path / "data")
    corpus, report = imported(tmp_path / "data", Recipe(skip_bad=True))
    # What stands before the damage is kept.
    assert sorted(places(corpus)) == [1, 2]
    ((reason, (count, first)),) = report.bad_files.items()
    assert (reason, count) == ("cannot be read", 3)
    assert first.startswith(f"{tmp_path}/data/bad.svg")


def test_files_of_no_known_format_are_passed_over_in_folders_and_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.ndjson", ndjson_line(1))
    for name in ("LICENSE", "README.md"):
        write(tmp_path / "data" / name, "All rights reserved")
    _, report = imported(tmp_path / "data")
    assert report.unknown_files == (2, str(tmp_path / "data" / "LICENSE"))
    with pytest.raises(DataError, match=r"LICENSE: not a known format; expected one of sketchrnn, ndjson"):
        imported(tmp_path / "data" / "LICENSE")


def test_a_format_can_be_forced(tmp_path: Path) -> None:
    write(tmp_path / "data" / "x.ndjson", '{"more":"fields","first":1}\n' + ndjson_line(1))
    write(tmp_path / "data" / "x.svg", SVG.format("M0 0L2 1"))
    corpus, report = imported(tmp_path / "data", Recipe(format="svg"))
    assert (sorted(places(corpus)), report.files) == ([2], 1)
    write(tmp_path / "lines.txt", ndjson_line(7))
    assert sorted(places(imported(tmp_path / "lines.txt", Recipe(format="ndjson"))[0])) == [7]


def test_lines_come_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.BytesIO((ndjson_line(1) + "no\n" + ndjson_line(2)).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines))
    report = import_corpus(["-"], tmp_path / "out")
    assert sorted(places(pipeline.read(tmp_path / "out"))) == [1, 2]
    assert report.dropped["not JSON"][1].startswith("stdin, line 2: ")


def test_strokes_and_touches_do_not_mix(tmp_path: Path) -> None:
    a = write(tmp_path / "a.ndjson", ndjson_line(1))
    b = write(tmp_path / "b.csv", "time,x,y,z,moving\n0.5,0.1,0.2,20,0\n")
    with pytest.raises(InputError, match=r"mixes sequences of \(dx, dy\) and sequences of \(dx, dy, dt\)"):
        import_corpus([a, b], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.ndjson", "b.csv"}


def test_streams_have_no_geometry(tmp_path: Path) -> None:
    source = write(tmp_path / "x.log", "2019-01-17T12:37:38.1,interface,0.25\n2019-01-17T12:37:39.1,interface,0.5\n")
    corpus, _ = imported(source)
    assert corpus.metadata.is_stream
    assert corpus.metadata.features == ("dt", "x1")
    with pytest.raises(InputError, match="apply to drawings; remove them to import streams"):
        imported(source, Recipe(box=255))


# What fails leaves nothing.


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


FAILURES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], type[BaseException]]] = {
    "an interruption in the middle": (
        lambda patch: patch.setattr(Builder, "_append", interrupted), KeyboardInterrupt
    ),
    "an interruption at the end": (
        lambda patch: patch.setattr(Builder, "finish", interrupted), KeyboardInterrupt
    ),
    "a bad file": (lambda patch: None, DataError),
}  # fmt: skip


@pytest.mark.parametrize(("fail", "error"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("out", ["out", "out.npz"])
def test_an_import_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Any, error: type[BaseException], out: str
) -> None:
    source = write(tmp_path / "x.ndjson", ndjson_line(1))
    bad = [write(tmp_path / "x.svg", "<svg")] if error is DataError else []
    before = set(tmp_path.iterdir())
    fail(monkeypatch)
    with pytest.raises(error):
        import_corpus([source, *bad], tmp_path / out)
    assert set(tmp_path.iterdir()) == before


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    source = write(tmp_path / "x.ndjson", ndjson_line(1))
    for out in (source, tmp_path):
        with pytest.raises(InputError, match="exists; use another path"):
            import_corpus([source], out)
    assert source.read_text() == ndjson_line(1)


@pytest.mark.parametrize("out", ["out", "out.npz"])
def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(tmp_path: Path, out: str) -> None:
    source = write(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(60_000)))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # noqa: E731
    command = [sys.executable, "-m", "mdnrnn", "data", "import", source.name, "--out", out]
    done = subprocess.run(
        command, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot write {out}: File too large")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "two shares": (lambda: Recipe(split="0.9,0.1"), "expected three shares that sum to 1"),
    "shares of more than all": (lambda: Recipe(split="0.9,0.1,0.1"), "expected three shares that sum to 1"),
    "shares in words": (lambda: Recipe(split="most,some,few"), "expected three shares that sum to 1"),
    "a negative share": (lambda: Recipe(split="1.2,-0.1,-0.1"), "expected three shares that sum to 1"),
    "shares that are no numbers": (lambda: Recipe(split="nan,nan,nan"), "expected three shares that sum to 1"),
    "no box": (lambda: Recipe(box=0), "--box is 0; expected more than 0"),
    "a tolerance that is no number": (lambda: Recipe(simplify=math.nan), "--simplify is nan; expected more than 0"),
    "an endless spacing": (lambda: Recipe(resample=math.inf), "--resample is inf; expected more than 0"),
    "a negative grid": (lambda: Recipe(grid=-1), "--grid is -1; expected 0 or more"),
    "no drawings": (lambda: Recipe(limit=0), "--limit is 0; expected more than 0"),
    "an unknown format": (lambda: Recipe(format="docx"), "unknown format 'docx'; expected one of sketchrnn"),
}


@pytest.mark.parametrize(("make", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_a_recipe_that_makes_no_sense_is_refused(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make()


def test_no_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--workers is 0; expected 1 or more"):
        import_corpus([write(tmp_path / "x.ndjson", ndjson_line(1))], tmp_path / "out", workers=0)


@pytest.mark.shared
def test_the_real_lines_and_the_real_binary_are_one_corpus(shared_data: Path, tmp_path: Path) -> None:
    """Imported together, drawings that stand in both are in one split."""
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


@pytest.mark.parametrize("kind", [str, Path])
def test_one_source_needs_no_list(tmp_path: Path, kind: type[str | Path]) -> None:
    write(tmp_path / "x.ndjson", ndjson_line(1) + ndjson_line(2))
    assert pipeline.import_corpus(kind(tmp_path / "x.ndjson"), tmp_path / "corpus").kept == 2
