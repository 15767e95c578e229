"""The commands that encode drawings, as a person runs them: what they make, and how they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree

from mdnrnn.cli import main
from mdnrnn.data.corpus import Corpus, Metadata, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.events import END
from mdnrnn.render import to_morph
from mdnrnn.runs.run import load
from mdnrnn.tasks.latent_space import find_nearest, interpolate, reconstruct, select
from tests.cli.helpers import assert_refused, train_run

Capture = pytest.CaptureFixture[str]
MAGIC = {
    ".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF8", ".npz": b"PK", ".ndjson": b"{",
    ".inkml": b"<?xml",
}  # fmt: skip
USES = {
    "reconstruct": ("-n 2 --temperatures 0.2", 4),
    "interpolate": ("--rows 2 --columns 2", 4),
    "combine": ("--plus 3 7 --minus 5 --temperatures 0.3", 4),
    "nearest": ("--indices 4 2 -n 1", 4),
}
"""Options that make a small picture, and how many drawings are in it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Path:
    """A variational run of a few steps on labeled doodles; its test split has one of each of 12 classes."""
    sizes = ["--model.encoder", "8", "--model.hidden", "16", "--model.latent", "4", "--model.components", "2"]
    options = [*sizes, "--steps", "3", "--validations", "1", "--device", "cpu"]
    return train_run(tmp_path_factory.mktemp("sketch"), doodles, "sketch-small", *options)


@pytest.fixture(scope="module")
def unable(tmp_path_factory: pytest.TempPathFactory, doodles: Corpus) -> Path:
    """A run without an encoder."""
    options = ["--model.hidden", "8", "--model.components", "2", "--steps", "2", "--validations", "1"]
    return train_run(tmp_path_factory.mktemp("stroke"), doodles, "stroke-small", *options)


def texts(picture: Path) -> list[str]:
    return [text.text for text in ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("ending", MAGIC)
@pytest.mark.parametrize("command", USES)
def test_a_command_writes_every_format(command: str, ending: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / f"x{ending}"
    options, count = USES[command]
    assert main([command, str(run), "--out", str(out), *options.split()]) == 0
    assert out.read_bytes().startswith(MAGIC[ending])
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]
    if ending == ".npz":
        corpus = pipeline.read(out)
        corpus.check()
        assert len(corpus) == count


@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf", ".npz"])
def test_a_map_is_a_figure_or_its_arrays(ending: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / f"map{ending}"
    assert main(["map", str(run), "--out", str(out), "-n", "5"]) == 0
    assert out.read_bytes().startswith(b"<?xml" if ending == ".svg" else MAGIC[ending])
    said = capsys.readouterr().out
    assert "12 drawings; the first two principal components hold " in said
    if ending == ".npz":
        with np.load(out) as arrays:
            first, second = arrays["explained_variance_ratio"]
        assert f"{first:.1%} and {second:.1%} of the variance" in said


def test_columns_of_reconstructions_say_what_they_are(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    options = ["--indices", "3", "1", "--temperatures", "0.25", "1"]
    assert main(["reconstruct", str(run), "--out", str(out), *options]) == 0
    assert texts(out) == ["original", "0.25", "1"] * 2


def test_a_command_does_what_the_library_does(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    assert main(["reconstruct", str(run), "--out", str(out), "--indices", "8", "0", "--seed", "4"]) == 0
    loaded, made = load(run), pipeline.read(out)
    expected = reconstruct(loaded, select(loaded.open_data().part("test"), [8, 0]), seed=4)
    np.testing.assert_array_equal(made.motion, expected.motion)
    np.testing.assert_array_equal(np.asarray(made.label), np.asarray(expected.label))


def test_terms_and_results_of_a_combination_say_what_they_are(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    assert main(["combine", str(run), "--out", str(out), "--plus", "3", "7", "--minus", "5"]) == 0
    assert texts(out) == ["+3", "+7", "−5", "= at 0.2", "= at 0.5", "= at 0.8"]


def test_neighbours_are_printed_and_stand_below_the_drawings(run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "x.svg"
    arguments = ["nearest", str(run), "--out", str(out), "--indices", "6", "2", "-n", "2"]
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    loaded = load(run)
    expected = find_nearest(loaded, [6, 2], loaded.open_data().part("test"), 2)
    assert [row["drawing"] for row in rows] == [6, 2]
    np.testing.assert_array_equal([row["nearest"] for row in rows], expected.indices)
    np.testing.assert_allclose([row["distances"] for row in rows], expected.distances)
    (i, j), (far, farther) = expected.indices[0], expected.distances[0]
    assert lines[0] == f"6: {i} ({far:.3f}), {j} ({farther:.3f})"
    assert texts(out)[:3] == ["6", f"{i}: {far:.2f}", f"{j}: {farther:.2f}"]


def test_a_gif_of_an_interpolation_goes_through_its_drawings(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gif"
    options = ["--indices", "0", "5", "2", "7", "--rows", "2", "--columns", "3", "--temperature", "0.5"]
    assert main(["interpolate", str(run), "--out", str(out), *options]) == 0
    loaded = load(run)
    ends = select(loaded.open_data().part("test"), [0, 5, 2, 7])
    grid = interpolate(loaded, ends, rows=2, columns=3, temperature=0.5)
    assert out.read_bytes() == to_morph([grid.drawing(i) for i in (0, 1, 2, 5, 4, 3)])


@pytest.mark.parametrize(
    ("options", "count"),
    [("", 32), ("--rows 1", 8), ("--indices 0 1", 8), ("--indices 0 1 2 3 --rows 2 --columns 3", 6)],
)
def test_ends_and_rows_of_an_interpolation_are_as_asked(options: str, count: int, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    assert main(["interpolate", str(run), "--out", str(out), *options.split()]) == 0
    assert len(pipeline.read(out)) == count


def test_the_seed_chooses_the_drawings(run: Path, tmp_path: Path, capsys: Capture) -> None:
    said = []
    for seed in "0", "0", "1":
        assert main(["interpolate", str(run), "--out", str(tmp_path / "x.npz"), "--seed", seed, "--columns", "2"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]


def test_other_data_and_one_class_are_encoded(run: Path, tmp_path: Path, capsys: Capture) -> None:
    data, out = str(run.parent / "data.npz"), tmp_path / "x.npz"
    options = ["--data", data, "--label", "cat", "-n", "30", "--temperatures", "0.2"]
    assert main(["reconstruct", str(run), "--out", str(out), *options]) == 0
    corpus = pipeline.read(out)
    assert len(corpus) == 2 * 20
    assert {corpus.metadata.classes[i] for i in np.asarray(corpus.label)} == {"cat"}
    drawing = [[[0, 10, 10], [0, 0, 10]]]
    (tmp_path / "mine.ndjson").write_text(json.dumps({"drawing": drawing}) + "\n")
    mine = ["--data", str(tmp_path / "mine.ndjson"), "--label", "fish"]
    assert main(["reconstruct", str(run), "--out", str(out), *mine]) == 0
    corpus = pipeline.read(out)
    assert corpus[0].motion.tolist() == [[10, 0], [0, 10]]
    assert {corpus.metadata.classes[i] for i in np.asarray(corpus.label)} == {"fish"}


def test_drawings_made_can_be_encoded_again(run: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.npz"
    assert main(["interpolate", str(run), "--out", str(made)]) == 0
    assert main(["map", str(run), "--out", str(tmp_path / "map.svg"), "--data", str(made)]) == 0
    assert main(["nearest", str(run), "--out", str(tmp_path / "n.npz"), "--data", str(made), "-n", "3"]) == 0


@pytest.mark.parametrize("command", [*USES, "map"])
def test_a_run_without_an_encoder_is_refused(command: str, unable: Path, tmp_path: Path, capsys: Capture) -> None:
    options = "" if command == "map" else USES[command][0]
    arguments = [command, str(unable), "--out", str(tmp_path / "x.svg"), *options.split()]
    assert_refused(arguments, "the run has no encoder; expected one of a variational model", capsys)
    assert not list(tmp_path.iterdir())


BAD: dict[str, tuple[str, str]] = {
    "no such run": ("reconstruct nosuch --out x.svg", "no such run folder"),
    "no out": ("reconstruct RUN", "--out"),
    "unknown ending": ("reconstruct RUN --out x.bmp", "its ending is '.bmp'; expected one of .svg"),
    "a moving map": ("map RUN --out x.gif", "its ending is '.gif'; expected one of .svg, .png, .pdf, .npz"),
    "no such place": ("interpolate RUN --out nosuch/x.svg", "there is no folder nosuch"),
    "animated png": ("nearest RUN --out x.png --animate", "to animate, expected .svg or .gif"),
    "unknown label": ("reconstruct RUN --out x.svg --label unicorn", "unknown label 'unicorn'"),
    "unknown split": ("map RUN --out x.svg --split dev", "split 'dev' is not in"),
    "no such data": ("map RUN --out x.svg --data nosuch.npz", "nosuch.npz: no such file"),
    "three features": ("reconstruct RUN --out x.svg --data three.npz", "three has 3 features"),
    "no classes": ("reconstruct RUN --out x.svg --data bare.npz", "bare has no classes; expected some of butterfly"),
    "beyond the end": ("reconstruct RUN --out x.svg --indices 3 12", "drawing 12 was asked for; expected 0 to 11"),
    "below 0": ("reconstruct RUN --out x.svg --indices -1", "drawing -1 was asked for; expected 0 to 11"),
    "no number": ("reconstruct RUN --out x.svg --indices one", "--indices"),
    "no drawings": ("reconstruct RUN --out x.svg -n 0", "-n is 0"),
    "no temperatures": ("reconstruct RUN --out x.svg --temperatures", "no temperature was given"),
    "temperature below 0": ("reconstruct RUN --out x.svg --temperatures -0.5", "temperature is -0.5"),
    "seed below 0": ("reconstruct RUN --out x.svg --seed -1", "the seed -1"),
    "noise of a seed below 0": ("combine RUN --out x.svg --plus 1 2 --seed -1", "the seed is -1"),
    "three ends": ("interpolate RUN --out x.svg --indices 1 2 3", "3 drawings were given to interpolate between"),
    "an end beyond": ("interpolate RUN --out x.svg --indices 1 20", "drawing 20 was asked for"),
    "rows of two": ("interpolate RUN --out x.svg --indices 1 2 --rows 4", "4 rows were asked for between 2 drawings"),
    "a row of four": ("interpolate RUN --out x.svg --indices 1 2 3 4 --rows 1", "1 rows were asked for between 4"),
    "no rows": ("interpolate RUN --out x.svg --rows 0", "0 rows were asked for"),
    "one column": ("interpolate RUN --out x.svg --columns 1", "columns is 1; expected 2 or more"),
    "one to interpolate": ("interpolate RUN --out x.svg --data one.npz", "1 drawings were given to interpolate"),
    "one on a map": ("map RUN --out x.svg --data one.npz", "received shape (1, 4), expected (M, Z) of 2 drawings"),
    "one without neighbors": ("nearest RUN --out x.svg --data one.npz", "7 neighbors were asked for"),
    "nothing to combine": ("combine RUN --out x.svg", "--plus"),
    "one to combine": ("combine RUN --out x.svg --plus 3", "1 drawings with signs [1] were given"),
    "nothing added": ("combine RUN --out x.svg --plus --minus 3 4", "one of them added"),
    "no terms": ("combine RUN --out x.svg --plus", "holds no sequence"),
    "too many neighbors": ("nearest RUN --out x.svg -n 12", "12 neighbors were asked for; expected 1 or more"),
    "no neighbors": ("nearest RUN --out x.svg -n 0", "0 neighbors were asked for"),
    "a map of nothing": ("map RUN --out x.svg -n 0", "0 drawings were asked for"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "complaint"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    line: str,
    complaint: str,
    run: Path,
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
    assert_refused([str(run) if word == "RUN" else word for word in line.split()], complaint, capsys)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_model_of_whole_drawings_learns_from_no_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--window", "20", "--augment-scale", "0", "--augment-drop", "0", "--out", str(tmp_path / "run")]
    assert_refused(["train", "sketch-small", "--data", "doodles", *options], "learns whole sequences alone", capsys)
    assert not (tmp_path / "run").exists()
