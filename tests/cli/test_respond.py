"""`mdnrnn respond`: an answer in every format, and what is wrong in one line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.formats import WRITERS
from mdnrnn.data.importing.recipe import Recipe
from tests.cli.helpers import assert_refused, train_run
from tests.helpers import random_corpus, touches


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two steps: what it plays is noise, how it is asked and told is what is tested."""
    options = ("--steps", "2", "--batch-size", "8", "--model.hidden", "16", "--model.components", "3")
    return train_run(tmp_path_factory.mktemp("touch"), touches(), "touch", *options)


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("call") / "call.csv"
    corpus = touches()
    WRITERS["microjam"](corpus.part("test").part("test"), path.with_suffix(""))
    return path.with_suffix("") / "000000.csv"


def rows_of(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", skiprows=1)


def test_a_csv_is_a_performance_that_begins_with_a_tap_and_lasts_as_long_as_asked(
    run: Path, call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "answer.csv"
    assert main(["respond", str(run), str(call), "--out", str(out), "--seconds", "1"]) == 0
    rows = rows_of(out)
    assert f"{out}: 1 answers, {len(rows)} touches" in capsys.readouterr().out
    time, x, y, _, moving = rows.T
    assert (time[0], moving[0]) == (0, 0)
    assert (np.diff(time) > 0).all()
    assert time[-1] <= 1
    assert 0 <= min(x.min(), y.min()) <= max(x.max(), y.max()) <= 1
    again = open_corpus(str(out), Recipe(split="1,0,0"))
    again.check()
    assert len(again.event) == len(rows)


def test_json_has_the_call_and_all_the_answers(run: Path, call: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "answers.json", tmp_path / "answer.csv"
    assert main(["respond", str(run), str(call), "--out", str(out), "-n", "3", "--seconds", "1"]) == 0
    assert main(["respond", str(run), str(call), "--out", str(one), "--seconds", "1"]) == 0
    told = json.loads(out.read_text())["performances"]
    assert [performance["label"] for performance in told] == ["call", "answer 1", "answer 2", "answer 3"]
    assert len(told[0]["touches"]) == len(rows_of(call))
    first = [(touch["time"], touch["x"], touch["y"], touch["moving"]) for touch in told[1]["touches"]]
    np.testing.assert_allclose(first, rows_of(one)[:, [0, 1, 2, 4]], atol=2e-6)


@pytest.mark.parametrize("name", ["answer.svg", "answer.png", "answer.pdf", "answer.gif", "answer.npz"])
def test_other_endings_write_what_they_say(run: Path, call: Path, tmp_path: Path, name: str) -> None:
    magic = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF8", ".npz": b"PK"}
    out = tmp_path / name
    assert main(["respond", str(run), str(call), "--out", str(out), "--seconds", "0.5"]) == 0
    assert out.read_bytes().startswith(magic[out.suffix])


def test_an_animated_svg_plays(run: Path, call: Path, tmp_path: Path) -> None:
    still, moving = tmp_path / "still.svg", tmp_path / "moving.svg"
    assert main(["respond", str(run), str(call), "--out", str(still), "--seconds", "0.5"]) == 0
    assert main(["respond", str(run), str(call), "--out", str(moving), "--seconds", "0.5", "--animate"]) == 0
    assert "<animate" not in still.read_text()
    assert "<animate" in moving.read_text()


def test_the_seed_and_the_temperature_change_the_answer(run: Path, call: Path, tmp_path: Path) -> None:
    answers = []
    for number, options in enumerate([[], ["--seed", "1"], ["--temperature", "0.2"], ["--scale-temperature", "0.01"]]):
        out = tmp_path / f"{number}.csv"
        assert main(["respond", str(run), str(call), "--out", str(out), "--seconds", "1", *options]) == 0
        answers.append(out.read_bytes())
    assert len(set(answers)) == 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "answer.xyz"], "its ending is '.xyz'; expected one of .svg"),
        (["--out", "answers.csv", "-n", "2"], "a .csv is one performance, 2 were asked for; try .json"),
        (["--out", "answer.csv", "-n", "0"], "-n is 0; expected 1 or more"),
        (["--out", "answer.csv", "--animate"], "to animate, expected .svg or .gif"),
        (["--out", "answer.csv", "--seconds", "0"], "an answer of 0.0 s was asked for"),
        (["--out", "answer.csv", "--index", "5"], "prefix 5 was asked for"),
        (["--out", "answer.csv", "--temperature", "-1"], "temperature is -1.0; expected 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Path,
    call: Path,
    options: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(["respond", str(run), str(call), *options], complaint, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["0.0,0.5,0.5,38,0", "0.1,nan,0.5,38,1"], "line 3"),
        (["0.0,0.5,0.5,38,0", "0.1,0.5"], "line 3"),
        ([], "no drawings in it"),
    ],
    ids=["no number", "a row too short", "empty"],
)
def test_a_call_that_cannot_be_read_is_told_of(
    run: Path, rows: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, out = tmp_path / "bad.csv", tmp_path / "answer.csv"
    path.write_text("\n".join(["time,x,y,z,moving", *rows, ""]))
    assert_refused(["respond", str(run), str(path), "--out", str(out)], complaint, capsys)
    assert not out.exists()


def test_a_run_of_drawings_answers_no_touches(call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--steps", "2", "--batch-size", "8", "--model.hidden", "16", "--model.components", "3")
    drawings = train_run(tmp_path, random_corpus([5, 9, 12]), "stroke", *options)
    assert_refused(["respond", str(drawings), str(call), "--out", str(tmp_path / "a.csv")], "", capsys)


def test_a_training_leaves_pictures_of_what_it_plays(run: Path) -> None:
    pictures = sorted((run / "samples").glob("*.svg"))
    assert pictures
    assert all(len(set(re.findall(r"stroke=\"(#\w{6})\"", path.read_text()))) > 5 for path in pictures)
