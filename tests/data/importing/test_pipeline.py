"""Tests of the import: order, reproducibility, memory, classes, texts, reports, unreadable files and failures."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native, ndjson, svg_writer
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.builder import Builder
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import DataError, InputError
from mdnrnn.pen_events import DOWN, UP
from tests.data.formats.samples import ndjson_line, object_array, pack_quickdraw
from tests.data.importing.helpers import (
    SVG,
    classes_by_number,
    folder_contents,
    import_files,
    splits_by_number,
    write_text,
)
from tests.helpers import make_episodes, make_touches, random_corpus

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
needs_resource = pytest.mark.skipif(resource is None, reason="needs resource limits")


# Order, processes, memory.


def test_corpus_does_not_depend_on_the_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare every byte and the report, for dozens of chunks of files in three formats with malformed lines."""
    monkeypatch.setattr(ndjson, "CHUNK_BYTES", 500)
    for name in ("cat", "dog"):
        lines = [ndjson_line(i, word=name, key_id=f"{name}{i}") if i % 50 else "no\n" for i in range(300)]
        write_text(tmp_path / "data" / f"{name}.ndjson", "".join(lines))
    (tmp_path / "data" / "owl.bin").write_bytes(pack_quickdraw([(i, [[(0, 0), (i, 1)]]) for i in range(1, 99)]))
    write_text(tmp_path / "data" / "x.svg", SVG.format("M0 0L7 1"))
    write_text(tmp_path / "data" / "bad.svg", "<svg")
    write_text(tmp_path / "data" / "README", "text")
    reports = [
        import_corpus([tmp_path / "data"], tmp_path / str(workers), Recipe(skip_bad=True), name="x", workers=workers)
        for workers in (1, 2)
    ]
    assert reports[0] == reports[1]
    assert reports[0].kept == 2 * 294 + 98 + 1
    assert (reports[0].files, reports[0].unknown_files[0], len(reports[0].bad_files)) == (4, 1, 1)
    assert folder_contents(tmp_path / "1") == folder_contents(tmp_path / "2")


@pytest.mark.parametrize("out", ["one", "one.npz"])
def test_repeated_import_writes_the_same_bytes(tmp_path: Path, out: str) -> None:
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(50)))
    for folder in ("a", "b"):
        import_corpus([source], tmp_path / folder / out)
    one, other = tmp_path / "a" / out, tmp_path / "b" / out
    if one.is_file():
        one, other = one.parent, other.parent
    assert folder_contents(one) == folder_contents(other)


def test_drawings_are_in_the_order_of_the_file_names(tmp_path: Path) -> None:
    write_text(tmp_path / "data" / "b.ndjson", ndjson_line(3) + ndjson_line(4))
    write_text(tmp_path / "data" / "a.ndjson", ndjson_line(1) + ndjson_line(2))
    write_text(tmp_path / "data" / "sub" / "c.ndjson", ndjson_line(5))
    corpus, _ = import_files(tmp_path / "data", Recipe(split="1,0,0"))
    assert corpus.motion[:, 0].tolist() == [1, 2, 3, 4, 5]


PRINT_PEAK_MEMORY = """
import re, sys
from mdnrnn.data.importing.pipeline import import_corpus
report = import_corpus([sys.argv[1]], sys.argv[2])
print(report.kept, int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) >> 10)
"""
"""VmHWM instead of ru_maxrss, which includes the memory of the parent process."""


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("extension", [".ndjson", ".bin", ".npz"])
def test_memory_does_not_grow_with_the_data(tmp_path: Path, extension: str) -> None:
    """Twenty times as many drawings increase the peak by less than 60 MB, or by 4 times the size of a pickled file."""
    points = [(i * 37 % 256, i * 91 % 256) for i in range(60)]
    xs, ys = zip(*points, strict=True)
    peaks = []
    for count in (10_000, 200_000):
        path = tmp_path / f"{count}{extension}"
        if extension == ".npz":
            rows = np.column_stack([np.diff(points, axis=0), np.zeros(59)]).astype(np.int16)
            np.savez(path, train=object_array(*(rows.copy() for _ in range(count))))
        else:
            record = json.dumps({"word": "cat", "drawing": [[xs, ys]] * 3}).encode() + b"\n"
            with path.open("wb") as file:
                for number in range(count):
                    file.write(record if extension == ".ndjson" else pack_quickdraw([(number, [points] * 3)]))
        command = [sys.executable, "-c", PRINT_PEAK_MEMORY, str(path), str(tmp_path / f"out{count}")]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        kept, peak = map(int, result.stdout.split())
        assert kept == count
        peaks.append(peak)
    assert peaks[1] < peaks[0] + (4 * path.stat().st_size >> 20 if extension == ".npz" else 60)


def test_importing_does_not_load_torch() -> None:
    """Worker processes start fast, because the import needs NumPy only."""
    code = (
        "import pkgutil, sys, mdnrnn.data.formats, mdnrnn.data.importing\n"
        "for package in (mdnrnn.data.formats, mdnrnn.data.importing):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        __import__(module.name)\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


# Classes.


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Drawings in folders named after their classes."""
    for name, number in {"cat/1.svg": 1, "cat/2.svg": 2, "dog/1.svg": 3}.items():
        write_text(tmp_path / "data" / name, SVG.format(f"M0 0L{number} 1"))
    return tmp_path / "data"


def test_folders_are_classes(class_folders: Path) -> None:
    corpus, report = import_files(class_folders)
    assert corpus.metadata.classes == ("cat", "dog")
    assert classes_by_number(corpus) == {1: "cat", 2: "cat", 3: "dog"}
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
def test_classes_come_from_the_requested_source(
    class_folders: Path, labels: Any, expected: dict[int, str] | None
) -> None:
    corpus, _ = import_files(class_folders, Recipe(labels=labels))
    assert (corpus.label is None) == (expected is None)
    if expected:
        assert classes_by_number(corpus) == expected


def test_single_folder_or_file_is_not_a_class(class_folders: Path, tmp_path: Path) -> None:
    assert import_files(class_folders / "cat")[0].label is None
    assert import_files(write_text(tmp_path / "x.ndjson", ndjson_line(1)))[0].label is None


def test_archives_are_classes(tmp_path: Path) -> None:
    for number, name in enumerate(("sheep", "kanji"), 1):
        np.savez(tmp_path / f"{name}.npz", train=object_array(np.array([[number, 1, 1]], np.int16)))
    corpus, _ = import_files([tmp_path / "sheep.npz", tmp_path / "kanji.npz"])
    assert corpus.metadata.classes == ("kanji", "sheep")
    assert classes_by_number(corpus) == {1: "sheep", 2: "kanji"}


def test_class_of_the_record_has_precedence_over_the_file(tmp_path: Path) -> None:
    write_text(tmp_path / "data" / "dog.ndjson", ndjson_line(1, word="cat") + ndjson_line(2))
    corpus, _ = import_files(tmp_path / "data")
    assert classes_by_number(corpus) == {1: "cat", 2: "dog"}
    corpus, _ = import_files(tmp_path / "data", Recipe(labels="record"))
    assert classes_by_number(corpus) == {1: "cat", 2: "unlabeled"}
    corpus, _ = import_files(tmp_path / "data", Recipe(labels="file"))
    assert classes_by_number(corpus) == {1: "dog", 2: "dog"}


# Texts and metadata.


@pytest.mark.parametrize("text", ["quick brown", "Zwölf 仂 🦊", " two\nlines\t", 'a <b> & "c"'])
def test_texts_are_kept(tmp_path: Path, text: str) -> None:
    with_text = svg_writer.format_svg([np.array([[0.0, 0], [1, 1]])], text)
    for number, content in enumerate((with_text, SVG.format("M0 0L2 1"))):
        write_text(tmp_path / "data" / f"{number}.svg", content)
    corpus, _ = import_files(tmp_path / "data", Recipe(split="1,0,0"))
    assert [corpus[i].text for i in range(2)] == [text, ""]


def test_labels_texts_and_keys_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    """In each pair, the second form of é is an e and a combining accent, in records, folders and lists of keys."""
    forms = "\u00e9", "e\u0301"
    for number, form in enumerate(forms):
        write_text(tmp_path / "data" / form / f"{number}.svg", SVG.format(f"M0 0L7 {number}"))
        write_text(tmp_path / f"{number}.ndjson", ndjson_line(number, word=form, key_id=f"key {forms[1 - number]}"))
        write_text(tmp_path / f"{number}.txt", f"key {form}")
    folders, _ = import_files(tmp_path / "data", Recipe(labels="folder"))
    assert folders.metadata.classes == (forms[0],)
    lists = f"train={tmp_path}/0.txt"
    records, _ = import_files([tmp_path / "0.ndjson", tmp_path / "1.ndjson"], Recipe(split=lists))
    assert records.metadata.classes == (forms[0],)
    assert len(records) == 2


def test_corpus_without_texts_has_no_text_array(class_folders: Path) -> None:
    corpus, _ = import_files(class_folders)
    assert corpus.text is None
    assert corpus[0].text is None


def test_corpus_that_is_imported_again_is_unchanged(tmp_path: Path) -> None:
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i, word="cat") for i in range(1, 30)))
    import_corpus([source], tmp_path / "a", Recipe(grid=0.5), name="mine", license="CC0", source="me")
    corpus, _ = import_files(tmp_path / "a", name="mine")
    assert corpus.fingerprint == pipeline.read(tmp_path / "a").fingerprint


@pytest.mark.parametrize("corpus", [random_corpus([9, 12]), make_touches(6), make_episodes(ends=False)])
def test_truncated_sequences_that_are_imported_again_have_no_end(tmp_path: Path, corpus: Corpus) -> None:
    event = corpus.event.copy()
    event[corpus.offsets[1:] - 1] = DOWN
    if not corpus.metadata.is_world:
        event[corpus.offsets[1] - 1] = UP
    native.write(replace(corpus, event=event, inputs=None), tmp_path / "a")
    import_corpus(tmp_path / "a", tmp_path / "b", Recipe(grid=0))
    again = pipeline.read(tmp_path / "b")
    np.testing.assert_array_equal(again.event, event)
    np.testing.assert_allclose(again.motion, corpus.motion, atol=1e-4)


def test_given_license_and_source_replace_those_of_an_imported_corpus(tmp_path: Path) -> None:
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(1, 30)))
    import_corpus([source], tmp_path / "a", license="CC0", source="me")
    import_corpus([tmp_path / "a"], tmp_path / "b", source="you")
    metadata = pipeline.read(tmp_path / "b").metadata
    assert (metadata.license, metadata.source) == ("CC0", "you")


# Reports.


def test_drops_are_counted_by_reason_with_the_first_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "CHUNK_BYTES", 100)
    a = write_text(tmp_path / "a.ndjson", ndjson_line(1) + '{"drawing":[]}\n' + "no\n" + ndjson_line(2))
    b = write_text(
        tmp_path / "b.ndjson", ndjson_line(3) + '{"drawing":[[[1e999],[0]]]}\n' + "no\n" + '{"drawing":[]}\n'
    )
    _, report = import_files([a, b])
    assert {reason: count for reason, (count, _) in report.dropped.items()} == {
        "empty": 2,
        "not JSON": 2,
        "not finite": 1,
    }
    assert (report.files, report.read, report.kept) == (2, 8, 3)
    assert report.dropped["empty"][1] == f"{a}, line 2 has no points"
    assert report.dropped["not JSON"][1].startswith(f"{a}, line 3: ")
    assert report.dropped["not finite"][1].startswith(f"{b}, line 2 ")


def test_percentiles_of_lengths_equal_those_of_numpy(tmp_path: Path) -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 60, 101)]
    records = [{"drawing": [[list(range(n + 1)), list(range(n + 1))]]} for n in lengths]
    source = write_text(tmp_path / "x.ndjson", "".join(json.dumps(record) + "\n" for record in records))
    _, report = import_files(source)
    expected = {f"{q}%": int(np.percentile(lengths, q, method="inverted_cdf")) for q in (0, 5, 50, 95, 100)}
    assert report.lengths == expected


def test_read_refuses_malformed_records(tmp_path: Path) -> None:
    source = write_text(tmp_path / "x.ndjson", ndjson_line(1) + '{"drawing":[]}\n' + "no\n")
    message = r"x\.ndjson, line 3: .*; correct it, or use mdnrnn data import, which drops it"
    with pytest.raises(DataError, match=message):
        pipeline.read(source)
    write_text(source, ndjson_line(1) + '{"drawing":[]}\n')
    assert pipeline.read(source).skipped == {"empty": 1}


# Files.


def test_unreadable_file_is_refused_or_counted(tmp_path: Path) -> None:
    write_text(tmp_path / "data" / "good.ndjson", ndjson_line(1))
    write_text(tmp_path / "data" / "bad.svg", "<svg")
    write_text(tmp_path / "data" / "worse.inkml", "")
    drawings = pack_quickdraw([(1, [[(0, 0), (2, 1)]]), (2, [[(1, 1)]])])
    (tmp_path / "data" / "cut.bin").write_bytes(drawings[:-1])
    with pytest.raises(DataError, match=r"bad\.svg"):
        import_files(tmp_path / "data")
    corpus, report = import_files(tmp_path / "data", Recipe(skip_bad=True))
    assert sorted(splits_by_number(corpus)) == [1, 2]  # drawings before the damage are kept
    ((reason, (count, first)),) = report.bad_files.items()
    assert (reason, count) == ("cannot be read", 3)
    assert first.startswith(str(tmp_path / "data" / "bad.svg"))


def test_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as a user who can list every folder: the error is simulated."""
    write_text(tmp_path / "data" / "a.svg", SVG.format("M0 0L7 1"))
    locked = write_text(tmp_path / "data" / "locked" / "b.svg", SVG.format("M0 0L7 2")).parent
    scandir, stat = os.scandir, os.stat

    def refuse_list(path: Any) -> Any:
        if path in (locked, str(locked)):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refuse_inside(path: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(path, int) and locked in Path(os.fsdecode(path)).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "scandir", refuse_list)
    monkeypatch.setattr(os, "stat", refuse_inside)
    with pytest.raises(DataError, match=r"locked: cannot be read \(Permission denied\); check the path"):
        import_corpus(tmp_path / "data", tmp_path / "out")
    report = import_corpus(tmp_path / "data", tmp_path / "out", Recipe(skip_bad=True))
    assert report.kept == 1
    assert report.bad_files["cannot be read"][0] == 1


def test_files_of_unknown_format_are_ignored_in_folders_and_refused_as_sources(tmp_path: Path) -> None:
    write_text(tmp_path / "data" / "a.ndjson", ndjson_line(1))
    for name in ("LICENSE", "README.md"):
        write_text(tmp_path / "data" / name, "All rights reserved")
    (tmp_path / "data" / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    _, report = import_files(tmp_path / "data")
    assert report.unknown_files == (3, str(tmp_path / "data" / "LICENSE"))
    assert report.unknown_kinds == {"text": 2, "PNG picture": 1}
    message = r"LICENSE: text that begins 'All rights reserved', not a known format; expected one of sketchrnn, "
    with pytest.raises(DataError, match=message):
        import_files(tmp_path / "data" / "LICENSE")


def test_format_option_overrides_recognition(tmp_path: Path) -> None:
    write_text(tmp_path / "data" / "x.ndjson", '{"more":"fields","first":1}\n' + ndjson_line(1))
    write_text(tmp_path / "data" / "x.svg", SVG.format("M0 0L2 1"))
    corpus, report = import_files(tmp_path / "data", Recipe(format="svg"))
    assert (sorted(splits_by_number(corpus)), report.files) == ([2], 1)
    write_text(tmp_path / "lines.txt", ndjson_line(7))
    assert sorted(splits_by_number(import_files(tmp_path / "lines.txt", Recipe(format="ndjson"))[0])) == [7]


def test_lines_are_read_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.BytesIO((ndjson_line(1) + "no\n" + ndjson_line(2)).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines))
    report = import_corpus(["-"], tmp_path / "out")
    assert sorted(splits_by_number(pipeline.read(tmp_path / "out"))) == [1, 2]
    assert report.dropped["not JSON"][1].startswith("stdin, line 2: ")


@pytest.mark.parametrize("kind", [str, Path])
def test_single_source_needs_no_list(tmp_path: Path, kind: type[str | Path]) -> None:
    write_text(tmp_path / "x.ndjson", ndjson_line(1) + ndjson_line(2))
    assert import_corpus(kind(tmp_path / "x.ndjson"), tmp_path / "corpus").kept == 2


# Errors.


def test_drawings_and_touches_are_not_mixed(tmp_path: Path) -> None:
    a = write_text(tmp_path / "a.ndjson", ndjson_line(1))
    b = write_text(tmp_path / "b.csv", "time,x,y,z,moving\n0.5,0.1,0.2,20,0\n")
    with pytest.raises(InputError, match=r"contains sequences of \(dx, dy\) and sequences of \(dx, dy, dt\)"):
        import_corpus([a, b], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.ndjson", "b.csv"}


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


FAILURES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], type[BaseException]]] = {
    "interrupt while adding": (lambda patch: patch.setattr(Builder, "_append", interrupt), KeyboardInterrupt),
    "interrupt while finishing": (lambda patch: patch.setattr(Builder, "finish", interrupt), KeyboardInterrupt),
    "unreadable file": (lambda patch: None, DataError),
}


@pytest.mark.parametrize(("fail", "error"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("out", ["out", "out.npz"])
def test_failed_import_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Any, error: type[BaseException], out: str
) -> None:
    source = write_text(tmp_path / "x.ndjson", ndjson_line(1))
    bad = [write_text(tmp_path / "x.svg", "<svg")] if error is DataError else []
    before = set(tmp_path.iterdir())
    fail(monkeypatch)
    with pytest.raises(error):
        import_corpus([source, *bad], tmp_path / out)
    assert set(tmp_path.iterdir()) == before


def test_existing_path_is_not_overwritten(tmp_path: Path) -> None:
    source = write_text(tmp_path / "x.ndjson", ndjson_line(1))
    for out in (source, tmp_path):
        with pytest.raises(InputError, match="exists; use another path"):
            import_corpus([source], out)
    assert source.read_text() == ndjson_line(1)


@needs_resource
@pytest.mark.parametrize("out", ["out", "out.npz"])
def test_full_disk_is_reported_in_one_line_and_leaves_no_files(tmp_path: Path, out: str) -> None:
    source = write_text(tmp_path / "x.ndjson", "".join(ndjson_line(i) for i in range(10_000)))

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-m", "mdnrnn", "data", "import", source.name, "--out", out]
    result = subprocess.run(
        command, cwd=tmp_path, preexec_fn=limit_file_size, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: cannot write {out}: File too large")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]


def test_number_of_workers_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--workers: received 0, expected 1 or more"):
        import_corpus([write_text(tmp_path / "x.ndjson", ndjson_line(1))], tmp_path / "out", workers=0)
