"""The commands that encode drawings: reconstruct, interpolate, combine, nearest, map."""

import json
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.metadata import Metadata
from mdnrnn.pen_events import END
from mdnrnn.render.animation import to_morph_gif
from mdnrnn.runs.run import load
from mdnrnn.tasks.latent_space import find_nearest, interpolate, reconstruct, select
from tests.cli.helpers import FIRST_BYTES, assert_refused, svg_texts

Capture = pytest.CaptureFixture[str]
COMMANDS = {
    "reconstruct": ("-n 2 --temperatures 0.2", 4),
    "interpolate": ("--rows 2 --columns 2", 4),
    "combine": ("--plus 3 7 --minus 5 --temperatures 0.3", 4),
    "nearest": ("--indices 4 2 -n 1", 4),
}
"""Options for a small result of each command, and its number of drawings."""


@pytest.mark.parametrize("extension", FIRST_BYTES)
@pytest.mark.parametrize("command", COMMANDS)
def test_command_writes_every_format(
    command: str, extension: str, sketch_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / f"x{extension}"
    options, count = COMMANDS[command]
    assert main([command, str(sketch_run), "--out", str(out), *options.split()]) == 0
    assert out.read_bytes().startswith(FIRST_BYTES[extension])
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]
    if extension == ".npz":
        corpus = pipeline.read(out)
        corpus.check()
        assert len(corpus) == count


@pytest.mark.parametrize("extension", [".svg", ".png", ".pdf", ".npz"])
def test_map_writes_a_figure_or_its_arrays(extension: str, sketch_run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / f"map{extension}"
    assert main(["map", str(sketch_run), "--out", str(out), "-n", "5"]) == 0
    assert out.read_bytes().startswith(b"<?xml" if extension == ".svg" else FIRST_BYTES[extension])
    printed = capsys.readouterr().out
    assert "12 drawings; the first two principal components explain " in printed
    if extension == ".npz":
        with np.load(out) as arrays:
            first, second = arrays["explained_variance_ratio"]
        assert f"{first:.1%} and {second:.1%} of the variance" in printed


def test_captions_of_reconstructions_are_temperatures(sketch_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    options = ["--indices", "3", "1", "--temperatures", "0.25", "1"]
    assert main(["reconstruct", str(sketch_run), "--out", str(out), *options]) == 0
    assert svg_texts(out) == ["original", "0.25", "1"] * 2


def test_command_and_library_give_the_same_reconstructions(sketch_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    assert main(["reconstruct", str(sketch_run), "--out", str(out), "--indices", "8", "0", "--seed", "4"]) == 0
    run, corpus = load(sketch_run), pipeline.read(out)
    expected = reconstruct(run, select(run.open_data().select_split("test"), [8, 0]), seed=4)
    np.testing.assert_array_equal(corpus.motion, expected.motion)
    np.testing.assert_array_equal(np.asarray(corpus.label), np.asarray(expected.label))


def test_captions_of_a_combination_are_signed_indices_and_temperatures(sketch_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    assert main(["combine", str(sketch_run), "--out", str(out), "--plus", "3", "7", "--minus", "5"]) == 0
    assert svg_texts(out) == ["+3", "+7", "−5", "= at 0.2", "= at 0.5", "= at 0.8"]


def test_neighbors_are_printed_and_are_the_captions(sketch_run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "x.svg"
    arguments = ["nearest", str(sketch_run), "--out", str(out), "--indices", "6", "2", "-n", "2"]
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    run = load(sketch_run)
    expected = find_nearest(run, [6, 2], run.open_data().select_split("test"), 2)
    assert [row["drawing"] for row in rows] == [6, 2]
    np.testing.assert_array_equal([row["nearest"] for row in rows], expected.indices)
    np.testing.assert_allclose([row["distances"] for row in rows], expected.distances)
    (i, j), (distance_i, distance_j) = expected.indices[0], expected.distances[0]
    assert lines[0] == f"6: {i} ({distance_i:.3f}), {j} ({distance_j:.3f})"
    assert svg_texts(out)[:3] == ["6", f"{i}: {distance_i:.2f}", f"{j}: {distance_j:.2f}"]


def test_gif_of_an_interpolation_morphs_in_serpentine_order(sketch_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gif"
    options = ["--indices", "0", "5", "2", "7", "--rows", "2", "--columns", "3", "--temperature", "0.5"]
    assert main(["interpolate", str(sketch_run), "--out", str(out), *options]) == 0
    run = load(sketch_run)
    ends = select(run.open_data().select_split("test"), [0, 5, 2, 7])
    grid = interpolate(run, ends, rows=2, columns=3, temperature=0.5)
    assert out.read_bytes() == to_morph_gif([grid.drawing(i) for i in (0, 1, 2, 5, 4, 3)])


@pytest.mark.parametrize(
    ("options", "count"),
    [("", 32), ("--rows 1", 8), ("--indices 0 1", 8), ("--indices 0 1 2 3 --rows 2 --columns 3", 6)],
    ids=["default", "one row", "two drawings", "four drawings"],
)
def test_size_of_an_interpolation(options: str, count: int, sketch_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    assert main(["interpolate", str(sketch_run), "--out", str(out), *options.split()]) == 0
    assert len(pipeline.read(out)) == count


def test_seed_selects_the_drawings(sketch_run: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["interpolate", str(sketch_run), "--out", str(tmp_path / "x.npz"), "--columns", "2", "--seed"]
    printed = []
    for seed in "0", "0", "1":
        assert main([*arguments, seed]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_other_data_and_one_class_can_be_encoded(sketch_run: Path, tmp_path: Path) -> None:
    data, out = str(sketch_run.parent / "data.npz"), tmp_path / "x.npz"
    options = ["--data", data, "--label", "cat", "-n", "30", "--temperatures", "0.2"]
    assert main(["reconstruct", str(sketch_run), "--out", str(out), *options]) == 0
    corpus = pipeline.read(out)
    assert len(corpus) == 2 * 20
    assert {corpus.metadata.classes[i] for i in np.asarray(corpus.label)} == {"cat"}
    (tmp_path / "mine.ndjson").write_text(json.dumps({"drawing": [[[0, 10, 10], [0, 0, 10]]]}) + "\n")
    options = ["--data", str(tmp_path / "mine.ndjson"), "--label", "fish", "--no-rescale"]
    assert main(["reconstruct", str(sketch_run), "--out", str(out), *options]) == 0
    corpus = pipeline.read(out)
    assert corpus[0].motion.tolist() == [[10, 0], [0, 10]]
    assert {corpus.metadata.classes[i] for i in np.asarray(corpus.label)} == {"fish"}


def test_generated_drawings_can_be_encoded_again(sketch_run: Path, tmp_path: Path) -> None:
    data = tmp_path / "interpolated.npz"
    assert main(["interpolate", str(sketch_run), "--out", str(data)]) == 0
    options = ["--data", str(data)]
    assert main(["map", str(sketch_run), "--out", str(tmp_path / "map.svg"), *options]) == 0
    assert main(["nearest", str(sketch_run), "--out", str(tmp_path / "n.npz"), "-n", "3", *options]) == 0


@pytest.mark.parametrize("command", [*COMMANDS, "map"])
def test_run_without_encoder_is_refused(command: str, stroke_run: Path, tmp_path: Path, capsys: Capture) -> None:
    options = "" if command == "map" else COMMANDS[command][0]
    arguments = [command, str(stroke_run), "--out", str(tmp_path / "x.svg"), *options.split()]
    assert_refused(arguments, "received a model without an encoder", capsys)
    assert not list(tmp_path.iterdir())


MISTAKES = {
    "no such run": ("reconstruct nosuch --out x.svg", "no such run folder"),
    "no output file": ("reconstruct RUN", "Missing from mdnrnn reconstruct: --out"),
    "unknown extension": ("reconstruct RUN --out x.bmp", "received extension '.bmp', expected one of .svg"),
    "animated map": ("map RUN --out x.gif", "received extension '.gif', expected one of .svg, .png, .pdf, .npz"),
    "no such folder": ("interpolate RUN --out nosuch/x.svg", "the folder nosuch does not exist"),
    "animated PNG": ("nearest RUN --out x.png --animate", "received extension '.png' to animate"),
    "unknown label": ("reconstruct RUN --out x.svg --label unicorn", "unknown label 'unicorn'"),
    "unknown split": ("map RUN --out x.svg --split dev", "split 'dev' is not in"),
    "no such data": ("map RUN --out x.svg --data nosuch.npz", "nosuch.npz: no such file"),
    "data with three features": ("reconstruct RUN --out x.svg --data three.npz", "three has 3 features"),
    "data without classes": (
        "reconstruct RUN --out x.svg --data bare.npz",
        "bare has no classes; expected classes from",
    ),
    "index too large": ("reconstruct RUN --out x.svg --indices 3 12", "index: received 12, expected 0 to 11"),
    "negative index": ("reconstruct RUN --out x.svg --indices -1", "index: received -1, expected 0 to 11"),
    "index that is not a number": ("reconstruct RUN --out x.svg --indices one", "Error parsing --indices"),
    "no drawings": ("reconstruct RUN --out x.svg -n 0", "-n: received 0, expected 1 or more"),
    "no temperatures": ("reconstruct RUN --out x.svg --temperatures", "temperatures: received none"),
    "negative temperature": ("reconstruct RUN --out x.svg --temperatures -0.5", "temperature: received -0.5"),
    "negative seed": ("reconstruct RUN --out x.svg --seed -1", "--seed: received -1, expected 0 or more"),
    "negative seed of the noise": ("combine RUN --out x.svg --plus 1 2 --seed -1", "seed: received -1"),
    "three drawings": ("interpolate RUN --out x.svg --indices 1 2 3", "drawings to interpolate: received 3"),
    "end out of range": ("interpolate RUN --out x.svg --indices 1 20", "index: received 20, expected 0 to 11"),
    "rows for two": ("interpolate RUN --out x.svg --indices 1 2 --rows 4", "rows: received 4 for 2 drawings"),
    "one row for four drawings": (
        "interpolate RUN --out x.svg --indices 1 2 3 4 --rows 1",
        "received 1 for 4 drawings",
    ),
    "no rows": ("interpolate RUN --out x.svg --rows 0", "rows: received 0"),
    "one column": ("interpolate RUN --out x.svg --columns 1", "columns: received 1, expected 2 or more"),
    "one drawing to interpolate": ("interpolate RUN --out x.svg --data one.npz", "drawings to interpolate: received 1"),
    "one drawing on a map": ("map RUN --out x.svg --data one.npz", "latents: received shape (1, 4), expected (M, Z)"),
    "one drawing without neighbors": ("nearest RUN --out x.svg --data one.npz", "n: received 7 neighbors"),
    "nothing to combine": ("combine RUN --out x.svg", "Missing from mdnrnn combine: --plus"),
    "one drawing to combine": ("combine RUN --out x.svg --plus 3", "signs: received [1], expected"),
    "only subtracted drawings": ("combine RUN --out x.svg --plus --minus 3 4", "at least one of them 1"),
    "no terms": ("combine RUN --out x.svg --plus", "contains no sequences"),
    "too many neighbors": ("nearest RUN --out x.svg -n 12", "n: received 12 neighbors, expected 1 to 11"),
    "no neighbors": ("nearest RUN --out x.svg -n 0", "n: received 0 neighbors, expected 1 to 11"),
    "map without drawings": ("map RUN --out x.svg -n 0", "n: received 0 drawings, expected 1 or more"),
}


@pytest.mark.parametrize(("line", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    line: str,
    message: str,
    sketch_run: Path,
    doodles: Corpus,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, features in (("three", 3), ("bare", 2)):
        sequence = Sequence(np.ones((4, features), np.int16), np.array([0, 0, 0, END]))
        native.write(pack(Metadata(name=name, bin_width=1), {"test": [sequence] * 2}), tmp_path / f"{name}.npz")
    native.write(select(doodles, [0]), tmp_path / "one.npz")
    before = {path.name for path in tmp_path.iterdir()}
    assert_refused([str(sketch_run) if word == "RUN" else word for word in line.split()], message, capsys)
    assert {path.name for path in tmp_path.iterdir()} == before
