"""`mdnrnn data` as a person runs it: import, export, info and draw of several formats, and how they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import WRITERS, native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.synthetic.corpora import make_rollouts
from mdnrnn.events import END
from tests.cli.helpers import assert_refused
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
from tests.helpers import random_corpus, touches

Capture = pytest.CaptureFixture[str]

FILES: dict[str, tuple[str, bytes, tuple[int, str]]] = {
    "lines": ("x.ndjson", (ndjson_line(1, word="cat") + ndjson_line(2, word="dog")).encode(), (2, "dx, dy")),
    "binary": ("x.bin", pack_quickdraw(QUICKDRAW_DRAWINGS), (2, "dx, dy")),
    "SVG": ("x.svg", KANJIVG_SVG.encode(), (1, "dx, dy")),
    "InkML": ("x.inkml", INKML, (1, "dx, dy")),
    "UNIPEN": ("x.dat", NICI_UNIPEN.encode(), (2, "dx, dy")),
    "touches": ("x.csv", MICROJAM_CSV.encode(), (1, "dx, dy, dt")),
    "a log": ("x.log", IMPSY_LOG.encode(), (1, "dt, x1, x2")),
}
"""Name, content, how many sequences of which features."""


@pytest.mark.parametrize(("name", "data", "expected"), FILES.values(), ids=FILES.keys())
def test_any_format_is_imported_told_of_and_drawn(
    name: str, data: bytes, expected: tuple[int, str], tmp_path: Path, capsys: Capture
) -> None:
    source, corpus, picture = tmp_path / name, tmp_path / "corpus", tmp_path / "x.svg.svg"
    source.write_bytes(data)
    assert main(["data", "import", str(source), "--out", str(corpus), "--split", "1,0,0"]) == 0
    count, features = expected
    assert f"{corpus}: {count} of {count} sequences kept" in capsys.readouterr().out
    assert main(["data", "info", str(corpus), "--json"]) == 0
    metadata = json.loads(capsys.readouterr().out)
    assert metadata["splits"] == {"train": count, "valid": 0, "test": 0}
    assert (", ".join(metadata["features"]) or "dx, dy") == features
    assert main(["data", "draw", str(corpus), "--out", str(picture)]) == 0
    assert ElementTree.parse(picture).getroot().findall(".//{http://www.w3.org/2000/svg}path")
    # The file itself will do, without an import.
    assert main(["data", "info", str(source)]) == 0


EXPORTS = {"corpus": "x.npz", "sketchrnn": "x.npz", "ndjson": "x.ndjson", "svg": "x", "inkml": "x.inkml"}


@pytest.mark.parametrize("form", EXPORTS)
def test_what_is_exported_is_imported_again(form: str, tmp_path: Path) -> None:
    corpus = random_corpus([4, 2, 7], classes=("cat", "dog"))
    native.write(corpus, tmp_path / "corpus")
    out, again = tmp_path / EXPORTS[form], tmp_path / "again"
    assert main(["data", "export", str(tmp_path / "corpus"), "--out", str(out), "--format", form]) == 0
    assert main(["data", "import", str(out), "--out", str(again)]) == 0
    assert sorted(steps(pipeline.read(again))) == sorted(steps(corpus))


def steps(corpus: Corpus) -> list[tuple[bytes, bytes]]:
    each = [corpus[i] for i in range(len(corpus))]
    return [(sequence.motion.astype(np.int16).tobytes(), sequence.event.tobytes()) for sequence in each]


def test_every_drawing_format_is_exported() -> None:
    assert set(EXPORTS) == set(WRITERS) - {"microjam"}


def test_one_split_is_exported(tmp_path: Path) -> None:
    native.write(random_corpus([4, 2]), tmp_path / "corpus")
    arguments = ["data", "export", str(tmp_path / "corpus"), "--out", str(tmp_path / "x.ndjson"), "--format", "ndjson"]
    assert main([*arguments, "--split", "valid"]) == 0
    assert len((tmp_path / "x.ndjson").read_text().splitlines()) == 2


def test_the_report_says_what_became_of_every_record(tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "x.ndjson"
    source.write_text("".join(ndjson_line(i, word="cat") for i in range(1, 21)) + "no\n" * 3 + '{"drawing":[]}\n')
    arguments = ["data", "import", str(source), "--out"]
    assert main([*arguments, str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}/a: 20 of 24 sequences kept, 20 points" in out
    assert f"dropped: 3 not JSON; the first: {source}, line 21: " in out
    assert f"dropped: 1 empty; the first: {source}, line 24 has no points" in out
    assert main([*arguments, str(tmp_path / "b"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["read"], report["kept"], report["points"], report["classes"]) == (24, 20, 20, 1)
    assert report["lengths"] == {"0%": 1, "5%": 1, "50%": 1, "95%": 1, "100%": 1}
    assert report["dropped"]["not JSON"] == [3, report["dropped"]["not JSON"][1]]


def test_options_reach_the_recipe(tmp_path: Path, capsys: Capture) -> None:
    """Each of them shows in the corpus."""
    points = [[0, 100, 100, 0], [0, 0, 50, 50.5]]
    record = json.dumps({"word": "cat", "drawing": [points]}) + "\n"
    (tmp_path / "x.ndjson").write_text(record * 3 + ndjson_line(9))
    options = "--box 255 --resample 1 --simplify 2 --min-points 2 --max-points 50 --limit 2 --labels none --name mine"
    options += " --license CC0 --split 0,1,0"
    arguments = ["data", "import", str(tmp_path / "x.ndjson"), "--out", str(tmp_path / "out"), *options.split()]
    assert main(arguments) == 0
    corpus = pipeline.read(tmp_path / "out")
    assert (corpus.metadata.name, corpus.metadata.license, corpus.metadata.bin_width, corpus.label) == (
        "mine",
        "CC0",
        1,
        None,
    )
    assert corpus.splits == {"train": (0, 0), "valid": (0, 2), "test": (2, 2)}
    # A corner lies between two points, one apart.
    np.testing.assert_allclose(corpus[0].motion, np.array([[255, 0], [0, 127.5], [-255, 1.5]]), atol=2)
    assert "no drawing fell into train, which a training needs" in capsys.readouterr().out


def test_patterns_folders_and_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.ndjson", "b.ndjson", "in/c.ndjson", "d.txt")):
        (tmp_path / name).write_text(ndjson_line(number + 1))
    sources = [str(tmp_path / "*.ndjson"), str(tmp_path / "in")]
    assert main(["data", "import", *sources, "--out", str(tmp_path / "out")]) == 0
    assert sorted(pipeline.read(tmp_path / "out").motion[:, 0].tolist()) == [1, 2, 3]


def test_lines_are_piped_in(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mdnrnn", "data", "import", "-", "--out", str(tmp_path / "out")]
    lines = (ndjson_line(1) + "no\n" + ndjson_line(2)).encode()
    done = subprocess.run(command, input=lines, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    assert b"dropped: 1 not JSON; the first: stdin, line 2: " in done.stdout
    assert len(pipeline.read(tmp_path / "out")) == 2


def test_streams_are_not_exported_as_drawings(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.log").write_text(IMPSY_LOG)
    for form, name in EXPORTS.items():
        if form != "corpus":
            arguments = ["data", "export", str(tmp_path / "x.log"), "--out", str(tmp_path / name), "--format", form]
            assert main(arguments) == 2
            assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.log"]


def test_a_world_is_told_of_and_drawn_as_curves(tmp_path: Path, capsys: Capture) -> None:
    """A curve for each latent, a point for each step; it is no drawing to export."""
    corpus = make_rollouts({"train": 6}, steps=50)
    native.write(corpus, tmp_path / "world")
    assert main(["data", "info", str(tmp_path / "world"), "--json"]) == 0
    metadata = json.loads(capsys.readouterr().out)
    assert (metadata["features"], metadata["inputs"]) == (["z1", "z2", "z3", "z4"], 2)
    assert metadata["ended"] == (corpus.event == END).sum()
    assert metadata["scales"] == pytest.approx(
        dict(zip(metadata["features"], corpus.motion.std(0), strict=True)), rel=1e-4
    )
    assert main(["data", "draw", str(tmp_path / "world"), "--out", str(tmp_path / "x.svg"), "-n", "2"]) == 0
    paths = ElementTree.parse(tmp_path / "x.svg").getroot().findall(".//{http://www.w3.org/2000/svg}path")
    assert len(paths) == 2 * 4
    rows = np.asarray(corpus[0].motion)
    for curve, values in zip(corpus.drawing(0), rows.T, strict=True):
        np.testing.assert_allclose(np.diff(curve[:, 0]), 3 / (len(rows) - 1))
        assert np.corrcoef(curve[:, 1], values)[0, 1] == pytest.approx(-1)
    arguments = ["data", "export", str(tmp_path / "world"), "--out", str(tmp_path / "x.ndjson"), "--format", "ndjson"]
    assert_refused(arguments, "expected drawings", capsys)


REFUSED = {
    "nothing there": ("data import gone --out new", "gone: no such file or folder"),
    "no sources": ("data import --out new", "nothing to import"),
    "no place": ("data import good.ndjson", "--out"),
    "a place that is taken": ("data import good.ndjson --out good.ndjson", "is there already"),
    "a bad file": ("data import bad.svg --out new", "bad.svg"),
    "no drawings": ("data import good.ndjson --out new --min-points 9", "no drawings in it"),
    "bad shares": ("data import good.ndjson --out new --split 1,1,1", "expected three shares that sum to 1"),
    "an unknown format": ("data import good.ndjson --out new --format docx", "unknown format 'docx'"),
    "no processes": ("data import good.ndjson --out new --workers 0", "--workers is 0"),
    "a box of nothing": ("data import good.ndjson --out new --box 0", "--box is 0"),
    "an unknown writer": ("data export good.ndjson --out new --format docx", "docx"),
    "an export that is there": ("data export good.ndjson --out good.ndjson --format ndjson", "is there already"),
    "an export to nowhere": ("data export good.ndjson --out gone/x --format ndjson", "there is no folder gone"),
    "sketches as touches": ("data export good.ndjson --out new --format microjam", "no touch performances"),
    "an unknown split": ("data export good.ndjson --out new --format svg --split some", "split 'some' is not in"),
    "info on a bad file": ("data info bad.svg", "bad.svg"),
    "a picture of a bad file": ("data draw bad.svg --out new.svg", "bad.svg"),
}


@pytest.mark.parametrize(("command", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused_in_one_line_and_leaves_nothing(
    command: str, complaint: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.ndjson").write_text(ndjson_line(1) + ndjson_line(2))
    (tmp_path / "bad.svg").write_text("<svg")
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert complaint in err
    assert {path.name for path in tmp_path.iterdir()} == {"good.ndjson", "bad.svg"}


@pytest.mark.parametrize("name", ODD_FILE_NAMES, ids=repr)
def test_odd_names_are_one_line_in_errors(name: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / f"{name}.svg").write_text("<svg")
    assert main(["data", "import", str(tmp_path / f"{name}.svg"), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.shared
def test_real_data_come_through_the_command(shared_data: Path, tmp_path: Path, capsys: Capture) -> None:
    sources = [str(shared_data / "quickdraw" / "simplified"), str(shared_data / "kanjivg" / "0*.svg")]
    assert main(["data", "import", *sources, "--out", str(tmp_path / "x.npz"), "--box", "255", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["read"], report["dropped"]) == (report["kept"], {})
    assert main(["data", "draw", str(tmp_path / "x.npz"), "--out", str(tmp_path / "x.png"), "-n", "9"]) == 0


def test_what_has_no_training_split_is_drawn_all_the_same(tmp_path: Path, capsys: Capture) -> None:
    native.write(random_corpus([3, 4]).select_split("test"), tmp_path / "x.npz")
    assert main(["data", "draw", str(tmp_path / "x.npz"), "--out", str(tmp_path / "x.svg")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.svg'}: 2 drawings\n"


def test_performances_are_drawn_in_colors_of_the_time(tmp_path: Path, capsys: Capture) -> None:
    native.write(touches(), tmp_path / "x.npz")
    arguments = ["data", "draw", str(tmp_path / "x.npz"), "-n", "3", "--color", "time"]
    assert main([*arguments, "--out", str(tmp_path / "x.svg"), "--animate"]) == 0
    texts = [element.text for element in ElementTree.parse(tmp_path / "x.svg").iter() if element.tag.endswith("text")]
    assert texts[0] == "0 s"
    assert "<animate" in (tmp_path / "x.svg").read_text()
    native.write(random_corpus([5]), tmp_path / "y.npz")
    arguments[2] = str(tmp_path / "y.npz")
    assert_refused([*arguments, "--out", str(tmp_path / "y.svg")], "random holds no touch performances", capsys)
    assert not (tmp_path / "y.svg").exists()
