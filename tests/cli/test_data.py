"""`mdnrnn data`: list, import, export, info and draw of several formats, and errors."""

import io
import json
import os
import pickle
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import WRITERS, native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.synthetic.corpora import make_rollouts
from mdnrnn.pen_events import END
from tests.cli.helpers import assert_refused, count_paths, svg_texts
from tests.data.formats.samples import (
    IMPSY_LOG,
    INKML,
    KANJIVG_SVG,
    MICROJAM_CSV,
    NICI_UNIPEN,
    ODD_FILE_NAMES,
    QUICKDRAW_DRAWINGS,
    ndjson_line,
    pack_quickdraw,
)
from tests.helpers import make_touches, random_corpus

Capture = pytest.CaptureFixture[str]
VALID = [np.array([[3, 0, 0], [0, 4, 1], [5, 5, 1]], np.int16)] * 3
"""Records of a sketch-rnn file."""


def test_list_has_the_bundled_data_sets_and_their_licenses(capsys: Capture) -> None:
    assert main(["data", "list", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"doodles", "aaron_sheep", "omniglot", "short_kanji", "quickdraw/CATEGORY"} <= set(entries)
    assert entries["doodles"]["on_this_machine"]
    assert main(["data", "list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed and entry["license"] in printed for name, entry in entries.items())


FILES: dict[str, tuple[str, bytes, int, str]] = {
    "ndjson": ("x.ndjson", (ndjson_line(1, word="cat") + ndjson_line(2, word="dog")).encode(), 2, "dx, dy"),
    "quickdraw-bin": ("x.bin", pack_quickdraw(QUICKDRAW_DRAWINGS), 2, "dx, dy"),
    "svg": ("x.svg", KANJIVG_SVG.encode(), 1, "dx, dy"),
    "inkml": ("x.inkml", INKML, 1, "dx, dy"),
    "unipen": ("x.dat", NICI_UNIPEN.encode(), 2, "dx, dy"),
    "microjam": ("x.csv", MICROJAM_CSV.encode(), 1, "dx, dy, dt"),
    "impsy": ("x.log", IMPSY_LOG.encode(), 1, "dt, x1, x2"),
}
"""File name, content, number of sequences and features by format."""


@pytest.mark.parametrize(("name", "data", "count", "features"), FILES.values(), ids=FILES.keys())
def test_every_format_can_be_imported_described_and_drawn(
    name: str, data: bytes, count: int, features: str, tmp_path: Path, capsys: Capture
) -> None:
    source, corpus, picture = tmp_path / name, tmp_path / "corpus", tmp_path / "picture.svg"
    source.write_bytes(data)
    assert main(["data", "import", str(source), "--out", str(corpus), "--split", "1,0,0"]) == 0
    sequences = "1 sequence" if count == 1 else f"{count} sequences"
    assert f"{corpus}: {count} of {sequences} kept" in capsys.readouterr().out
    assert main(["data", "info", str(corpus), "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["splits"] == {"train": count, "valid": 0, "test": 0}
    assert (", ".join(description["features"]) or "dx, dy") == features
    assert main(["data", "draw", str(corpus), "--out", str(picture)]) == 0
    assert count_paths(picture) > 0
    assert main(["data", "info", str(source)]) == 0  # without an import


EXPORTS = {"corpus": "x.npz", "sketchrnn": "x.npz", "ndjson": "x.ndjson", "svg": "x", "inkml": "x.inkml"}
"""Output file or folder by format of drawings."""


def test_exports_are_all_formats_of_drawings() -> None:
    assert set(EXPORTS) == set(WRITERS) - {"microjam"}


@pytest.mark.parametrize("form", EXPORTS)
def test_import_reads_what_export_writes(form: str, tmp_path: Path) -> None:
    corpus = random_corpus([4, 2, 7], classes=("cat", "dog"))
    native.write(corpus, tmp_path / "corpus")
    out, imported = tmp_path / EXPORTS[form], tmp_path / "imported"
    assert main(["data", "export", str(tmp_path / "corpus"), "--out", str(out), "--format", form]) == 0
    assert main(["data", "import", str(out), "--out", str(imported)]) == 0
    assert sorted(sequence_bytes(pipeline.read(imported))) == sorted(sequence_bytes(corpus))


def sequence_bytes(corpus: Corpus) -> list[tuple[bytes, bytes]]:
    """Return motion and event of each sequence as bytes."""
    sequences = [corpus[i] for i in range(len(corpus))]
    return [(sequence.motion.astype(np.int16).tobytes(), sequence.event.tobytes()) for sequence in sequences]


def test_export_of_one_split(tmp_path: Path) -> None:
    native.write(random_corpus([4, 2]), tmp_path / "corpus")
    arguments = ["data", "export", str(tmp_path / "corpus"), "--out", str(tmp_path / "x.ndjson"), "--format", "ndjson"]
    assert main([*arguments, "--split", "valid"]) == 0
    assert len((tmp_path / "x.ndjson").read_text().splitlines()) == 2


def test_report_counts_dropped_records_by_reason(tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "x.ndjson"
    source.write_text("".join(ndjson_line(i, word="cat") for i in range(1, 21)) + "no\n" * 3 + '{"drawing":[]}\n')
    arguments = ["data", "import", str(source), "--out"]
    assert main([*arguments, str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'a'}: 20 of 24 sequences kept, 20 points" in out
    assert f"dropped (not JSON): 3; first: {source}, line 21: " in out
    assert f"dropped (empty): 1; first: {source}, line 24" in out
    assert main([*arguments, str(tmp_path / "b"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["read"], report["kept"], report["points"], report["classes"]) == (24, 20, 20, 1)
    assert report["lengths"] == {"0%": 1, "5%": 1, "50%": 1, "95%": 1, "100%": 1}
    assert report["dropped"]["not JSON"] == [3, report["dropped"]["not JSON"][1]]


def test_info_prints_the_number_of_skipped_sequences(tmp_path: Path, capsys: Capture) -> None:
    source = write_sketchrnn(tmp_path / "x.npz", train=[*VALID, np.zeros((0, 3), np.int16)])
    assert main(["data", "import", str(source), "--out", str(tmp_path / "corpus"), "--name", "mine"]) == 0
    assert "dropped (empty sequence): 1; first: " in capsys.readouterr().out
    assert main(["data", "info", str(tmp_path / "corpus"), "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["name"] == "mine"
    assert description["splits"] == {"train": 3, "valid": 3, "test": 3}
    assert main(["data", "info", str(source)]) == 0
    assert "empty sequence" in capsys.readouterr().out


def test_import_options_change_the_corpus(tmp_path: Path, capsys: Capture) -> None:
    points = [[0, 100, 100, 0], [0, 0, 50, 50.5]]
    record = json.dumps({"word": "cat", "drawing": [points]}) + "\n"
    (tmp_path / "x.ndjson").write_text(record * 3 + ndjson_line(9))
    options = "--box 255 --resample 1 --simplify 2 --min-points 2 --max-points 50 --limit 2 --labels none --name mine"
    options += " --license CC0 --split 0,1,0"
    arguments = ["data", "import", str(tmp_path / "x.ndjson"), "--out", str(tmp_path / "out"), *options.split()]
    assert main(arguments) == 0
    corpus = pipeline.read(tmp_path / "out")
    metadata = corpus.metadata
    assert (metadata.name, metadata.license, metadata.bin_width, corpus.label) == ("mine", "CC0", 1, None)
    assert corpus.splits == {"train": (0, 0), "valid": (0, 2), "test": (2, 2)}
    # Resampled points are at most 1 from the corners.
    np.testing.assert_allclose(corpus[0].motion, np.array([[255, 0], [0, 127.5], [-255, 1.5]]), atol=2)
    assert "the split train is empty, but training needs it" in capsys.readouterr().out


def test_patterns_and_folders_are_imported_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.ndjson", "b.ndjson", "in/c.ndjson", "d.txt")):
        (tmp_path / name).write_text(ndjson_line(number + 1))
    sources = [str(tmp_path / "*.ndjson"), str(tmp_path / "in")]
    assert main(["data", "import", *sources, "--out", str(tmp_path / "out")]) == 0
    assert sorted(pipeline.read(tmp_path / "out").motion[:, 0].tolist()) == [1, 2, 3]


def test_lines_on_stdin_are_imported(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ndjson_line(1) + "no\n" + ndjson_line(2)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert main(["data", "import", "-", "--out", str(tmp_path / "out")]) == 0
    printed, reported = capsys.readouterr()
    assert reported == ""
    assert "dropped (not JSON): 1; first: stdin, line 2: " in printed
    assert len(pipeline.read(tmp_path / "out")) == 2


def test_streams_cannot_be_exported_as_drawings(tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "x.log"
    source.write_text(IMPSY_LOG)
    for form, name in EXPORTS.items():
        if form != "corpus":
            arguments = ["data", "export", str(source), "--out", str(tmp_path / name), "--format", form]
            assert_refused(arguments, "", capsys)
    assert list(tmp_path.iterdir()) == [source]


def test_world_model_data_are_described_and_drawn_as_curves(tmp_path: Path, capsys: Capture) -> None:
    """A curve has one point per step; its y, which points down, decreases with the latent."""
    corpus = make_rollouts({"train": 6}, steps=50)
    native.write(corpus, tmp_path / "world")
    assert main(["data", "info", str(tmp_path / "world"), "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert (description["features"], description["inputs"]) == (["z1", "z2", "z3", "z4"], 2)
    assert description["ended"] == (corpus.event == END).sum()
    scales = dict(zip(description["features"], corpus.motion.std(0), strict=True))
    assert description["scales"] == pytest.approx(scales, rel=1e-4)
    assert main(["data", "draw", str(tmp_path / "world"), "--out", str(tmp_path / "x.svg"), "-n", "2"]) == 0
    assert count_paths(tmp_path / "x.svg") == 2 * 4
    motion = np.asarray(corpus[0].motion)
    for curve, latent in zip(corpus.drawing(0), motion.T, strict=True):
        np.testing.assert_allclose(np.diff(curve[:, 0]), 3 / (len(motion) - 1))
        assert np.corrcoef(curve[:, 1], latent)[0, 1] == pytest.approx(-1)
    arguments = ["data", "export", str(tmp_path / "world"), "--out", str(tmp_path / "x.ndjson"), "--format", "ndjson"]
    assert_refused(arguments, "expected drawings", capsys)


def test_draw_uses_the_first_split_that_is_not_empty(tmp_path: Path, capsys: Capture) -> None:
    native.write(random_corpus([3, 4]).select_split("test"), tmp_path / "x.npz")
    assert main(["data", "draw", str(tmp_path / "x.npz"), "--out", str(tmp_path / "x.svg")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.svg'}: 2 drawings\n"


def test_performances_are_drawn_in_the_colors_of_time(tmp_path: Path, capsys: Capture) -> None:
    native.write(make_touches(), tmp_path / "x.npz")
    native.write(random_corpus([5]), tmp_path / "y.npz")
    options, out = ["-n", "3", "--color", "time"], tmp_path / "x.svg"
    assert main(["data", "draw", str(tmp_path / "x.npz"), *options, "--out", str(out), "--animate"]) == 0
    assert svg_texts(out)[0] == "0 s"
    assert "<animate" in out.read_text()
    arguments = ["data", "draw", str(tmp_path / "y.npz"), *options, "--out", str(tmp_path / "y.svg")]
    assert_refused(arguments, "expected touch performances", capsys)
    assert not (tmp_path / "y.svg").exists()


MISTAKES = {
    "no such source": ("import nosuch --out new", "nosuch: no such file or folder"),
    "no sources": ("import --out new", "sources: received none, expected files"),
    "import without output": ("import good.ndjson", "Missing from mdnrnn data import: --out"),
    "import onto a file": ("import good.ndjson --out good.ndjson", "good.ndjson exists; use another path"),
    "import of a damaged file": ("import bad.svg --out new", "bad.svg"),
    "import of no drawings": ("import good.ndjson --out new --min-points 9", "received no drawings"),
    "shares": ("import good.ndjson --out new --split 1,1,1", "expected three shares that sum to 1"),
    "import format": ("import good.ndjson --out new --format docx", "unknown format 'docx'"),
    "no workers": ("import good.ndjson --out new --workers 0", "--workers: received 0, expected 1 or more"),
    "no box": ("import good.ndjson --out new --box 0", "--box: received 0.0, expected more than 0"),
    "export format": ("export good.ndjson --out new --format docx", "invalid choice 'docx' for argument '--format'"),
    "export onto a file": ("export good.ndjson --out good.ndjson --format ndjson", "exists; use another path"),
    "export to no folder": ("export good.ndjson --out gone/x --format ndjson", "the folder gone does not exist"),
    "drawings as touches": ("export good.ndjson --out new --format microjam", "expected touch performances"),
    "split": ("export good.ndjson --out new --format svg --split some", "split 'some' is not in"),
    "info on a damaged file": ("info bad.svg", "bad.svg"),
    "picture of a damaged file": ("draw bad.svg --out new.svg", "bad.svg"),
    "picture as data": ("draw good.ndjson --out x.npz", "received extension '.npz', expected one of .svg, .png"),
    "animated PNG": ("draw good.ndjson --out x.png --animate", "received extension '.png' to animate"),
    "negative number": ("draw good.ndjson --out x.svg -n -1", "-n: received -1, expected 1 or more"),
    "negative index": ("draw good.ndjson --out x.svg --first -1", "--first: received -1, expected 0 or more"),
    "index too large": ("draw good.ndjson --out x.svg --first 100000", "--first: received 100000, expected less than"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    line: str, message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.ndjson").write_text(ndjson_line(1) + ndjson_line(2))
    (tmp_path / "bad.svg").write_text("<svg")
    assert_refused(["data", *line.split()], message, capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"good.ndjson", "bad.svg"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs file names that Windows does not allow")
@pytest.mark.parametrize("name", ODD_FILE_NAMES, ids=repr)
def test_odd_file_names_do_not_break_the_line_of_an_error(name: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / f"{name}.svg").write_text("<svg")
    assert main(["data", "import", str(tmp_path / f"{name}.svg"), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def write_sketchrnn(path: Path, **splits: list[np.ndarray]) -> Path:
    """Write a sketch-rnn .npz; splits that are not given hold valid records."""
    arrays = {}
    for name, records in {"train": VALID, "valid": VALID, "test": VALID, **splits}.items():
        array = np.empty(len(records), dtype=object)
        array[:] = records
        arrays[name] = array
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


class Exploit:
    """Object whose pickle runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def write_exploit(path: Path) -> None:
    """Write an .npz with a pickle that runs a command."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", member.getvalue() + pickle.dumps(Exploit()))


def write_truncated(path: Path) -> None:
    """Write the first half of a sketch-rnn file."""
    data = write_sketchrnn(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "not an npz": (lambda path: path.write_bytes(b"hello, world"), "not an .npz file"),
    "truncated": (write_truncated, "an .npz that is truncated"),
    "exploit": (write_exploit, "only NumPy arrays are read"),
    "unknown keys": (lambda path: np.savez(path, drawings=np.zeros((3, 3))), "none of the keys train, valid, test"),
    "two columns": (lambda path: write_sketchrnn(path, train=[np.zeros((3, 2))]), "train[0] has shape (3, 2)"),
    "NaN": (lambda path: write_sketchrnn(path, train=[*VALID, np.array([[np.nan, 0, 1]])]), "train[3] contains NaN"),
    "infinity": (
        lambda path: write_sketchrnn(path, valid=[np.array([[0, 0, 0], [np.inf, 0, 1]])]),
        "valid[0] contains NaN or infinity in row 1",
    ),
    "pen": (lambda path: write_sketchrnn(path, test=[np.array([[0, 0, 3]])]), "test[0] has pen 3"),
    "empty split": (lambda path: write_sketchrnn(path, valid=[]), "split 'valid' is empty"),
}


@pytest.mark.parametrize(("write", "message"), DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("command", ["train", "info", "evaluate"])
def test_damaged_data_are_reported_in_one_line_by_every_command(
    write: Callable[[Path], object],
    message: str,
    command: str,
    stroke_run: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.npz")
    before = {path.name for path in tmp_path.iterdir()}
    arguments = {
        "train": ["train", "stroke", "--data", "x.npz", "--out", "new"],
        "info": ["data", "info", "x.npz"],
        "evaluate": ["evaluate", str(stroke_run), "--data", "x.npz"],
    }[command]
    assert_refused(arguments, message, capsys)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_sigterm_stops_an_import_without_leftovers(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.ndjson").write_text(ndjson_line(1))
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("mdnrnn.cli.data_import.import_corpus", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["data", "import", str(tmp_path / "x.ndjson"), "--out", str(tmp_path / "out")]) == 143
    assert capsys.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.shared
def test_quickdraw_and_kanjivg_files_are_imported_without_drops(
    shared_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    sources = [str(shared_data / "quickdraw" / "simplified"), str(shared_data / "kanjivg" / "0*.svg")]
    assert main(["data", "import", *sources, "--out", str(tmp_path / "x.npz"), "--box", "255", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["read"], report["dropped"]) == (report["kept"], {})
    assert main(["data", "draw", str(tmp_path / "x.npz"), "--out", str(tmp_path / "x.png"), "-n", "9"]) == 0


def test_other_commands_warn_of_files_with_fills_only(tmp_path: Path, capsys: Capture) -> None:
    shapes = {"line": '<path d="M0 0L9 9" stroke="#000"/>', "icon": '<path d="M0 0L9 0L9 9Z"/>'}
    (tmp_path / "svg").mkdir()
    for name, shape in shapes.items():
        (tmp_path / "svg" / f"{name}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{shape}</svg>'
        )
    assert main(["data", "draw", str(tmp_path / "svg"), "--out", str(tmp_path / "look.svg")]) == 0
    assert "warning: not imported: 1 file with filled areas and without strokes" in capsys.readouterr().err


def test_import_warns_of_files_with_fills_only(tmp_path: Path, capsys: Capture) -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg'>{}</svg>"
    for name, body in {
        "a": "<path d='M0 0L1 1' stroke='red'/><text/>",
        "b": "<g fill='red'><path d='M0 0L4 0L4 4z'/><path d='M0 0L4 0L4 4z'/></g>",
        "c": "<circle r='5'/>",
    }.items():
        (tmp_path / f"{name}.svg").write_text(svg.format(body))
    sources = [str(tmp_path / f"{name}.svg") for name in "abc"]
    assert main(["data", "import", *sources, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "1 of 3 sequences kept" in out
    assert f"dropped (fills without strokes): 2; first: {sources[1]} has 2 filled elements and no strokes" in out
    assert f"not imported (filled elements): 3; first: {sources[1]}: " in out
    assert f"not imported (text elements): 1; first: {sources[0]}: " in out
    assert err.startswith(
        f"warning: not imported: 2 files with filled areas and without strokes; first: {sources[1]} has 2 filled"
    )
    assert main(["data", "import", *sources, "--outlines", "--out", str(tmp_path / "outlines")]) == 0
    out, err = capsys.readouterr()
    assert "3 of 3 sequences kept" in out
    assert "filled elements" not in out
    assert err == ""
    assert_refused(
        ["data", "import", sources[1], "--out", str(tmp_path / "none")],
        "has 2 filled elements and no strokes; import their outlines with mdnrnn data import --outlines",
        capsys,
    )
