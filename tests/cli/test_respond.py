"""`mdnrnn respond`: responses in every format, and errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.formats import WRITERS
from mdnrnn.data.importing.recipe import Recipe
from tests.cli.helpers import FIRST_BYTES, assert_refused
from tests.helpers import make_touches

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a MicroJam CSV file with a performance."""
    folder = tmp_path_factory.mktemp("call") / "calls"
    WRITERS["microjam"](make_touches().select_split("test"), folder)
    return folder / "000000.csv"


def respond(run: Path, call: Path, out: Path, *options: str) -> None:
    """Run the command, which must succeed."""
    assert main(["respond", str(run), str(call), "--out", str(out), *options]) == 0


def read_rows(path: Path) -> np.ndarray:
    """Return the rows of a MicroJam CSV file: time, x, y, z, moving."""
    return np.loadtxt(path, delimiter=",", skiprows=1)


def test_csv_has_a_response_that_begins_with_a_tap_and_lasts_as_long_as_requested(
    touch_run: Path, call: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "response.csv"
    respond(touch_run, call, out, "--seconds", "1")
    rows = read_rows(out)
    assert f"{out}: 1 response, {len(rows)} touches" in capsys.readouterr().out
    time, x, y, _, moving = rows.T
    assert (time[0], moving[0]) == (0, 0)
    assert (np.diff(time) > 0).all()
    assert time[-1] <= 1
    assert 0 <= min(x.min(), y.min()) <= max(x.max(), y.max()) <= 1
    corpus = open_corpus(str(out), Recipe(split="1,0,0"))
    corpus.check()
    assert len(corpus.event) == len(rows)


def test_json_has_the_call_and_all_responses(touch_run: Path, call: Path, tmp_path: Path) -> None:
    out, one = tmp_path / "responses.json", tmp_path / "response.csv"
    respond(touch_run, call, out, "-n", "3", "--seconds", "1")
    respond(touch_run, call, one, "--seconds", "1")
    performances = json.loads(out.read_text())["performances"]
    labels = [performance["label"] for performance in performances]
    assert labels == ["call", "response 1", "response 2", "response 3"]
    assert len(performances[0]["touches"]) == len(read_rows(call))
    first = [(touch["time"], touch["x"], touch["y"], touch["moving"]) for touch in performances[1]["touches"]]
    np.testing.assert_allclose(first, read_rows(one)[:, [0, 1, 2, 4]], atol=2e-6)


@pytest.mark.parametrize("extension", [".svg", ".png", ".pdf", ".gif", ".npz"])
def test_respond_writes_pictures_and_data(touch_run: Path, call: Path, tmp_path: Path, extension: str) -> None:
    out = tmp_path / f"response{extension}"
    respond(touch_run, call, out, "--seconds", "0.5")
    assert out.read_bytes().startswith(FIRST_BYTES[extension])


def test_animate_adds_animations_to_the_svg(touch_run: Path, call: Path, tmp_path: Path) -> None:
    still, animated = tmp_path / "still.svg", tmp_path / "animated.svg"
    respond(touch_run, call, still, "--seconds", "0.5")
    respond(touch_run, call, animated, "--seconds", "0.5", "--animate")
    assert "<animate" not in still.read_text()
    assert "<animate" in animated.read_text()


def test_seed_and_temperatures_change_the_response(touch_run: Path, call: Path, tmp_path: Path) -> None:
    responses = []
    for number, options in enumerate([[], ["--seed", "1"], ["--temperature", "0.2"], ["--scale-temperature", "0.01"]]):
        out = tmp_path / f"{number}.csv"
        respond(touch_run, call, out, "--seconds", "1", *options)
        responses.append(out.read_bytes())
    assert len(set(responses)) == 4


def test_stroke_limit_ends_the_response(touch_run: Path, call: Path, tmp_path: Path) -> None:
    plain, limited = tmp_path / "plain.csv", tmp_path / "limited.csv"
    respond(touch_run, call, plain, "--seconds", "1")
    respond(touch_run, call, limited, "--seconds", "1", "--max-strokes", "3", "--top-p", "1")
    rows = read_rows(limited)
    assert 3 <= len(rows) < len(read_rows(plain))
    np.testing.assert_array_equal(rows, read_rows(plain)[: len(rows)])
    assert (rows[:, 4] == 0).sum() == 3  # a stroke starts with a row that does not move


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--out response.xyz", "received extension '.xyz', expected one of .svg"),
        ("--out responses.csv -n 2", "received -n 2, expected 1 for .csv; use .json for several responses"),
        ("--out response.csv -n 0", "-n: received 0, expected 1 or more"),
        ("--out response.csv --animate", "received extension '.csv' to animate"),
        ("--out response.csv --seconds 0", "seconds: received 0.0, expected more than 0"),
        ("--out response.csv --index 5", "prefix index: received 5"),
        ("--out response.csv --temperature -1", "temperature: received -1.0, expected a number >= 0"),
        ("--out response.csv --no-endless", "Unrecognized options: --no-endless"),
    ],
    ids=["extension", "two in a CSV", "none", "animated CSV", "no time", "index", "negative temperature", "endless"],
)
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    touch_run: Path,
    call: Path,
    line: str,
    message: str,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(["respond", str(touch_run), str(call), *line.split()], message, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0.0,0.5,0.5,38,0", "0.1,nan,0.5,38,1"], "line 3"),
        (["0.0,0.5,0.5,38,0", "0.1,0.5"], "line 3"),
        ([], "bad.csv"),
    ],
    ids=["NaN", "short row", "no rows"],
)
def test_damaged_call_is_reported(
    touch_run: Path, rows: list[str], message: str, capsys: Capture, tmp_path: Path
) -> None:
    path, out = tmp_path / "bad.csv", tmp_path / "response.csv"
    path.write_text("\n".join(["time,x,y,z,moving", *rows, ""]))
    assert_refused(["respond", str(touch_run), str(path), "--out", str(out)], message, capsys)
    assert not out.exists()


def test_run_of_drawings_is_refused(stroke_run: Path, call: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["respond", str(stroke_run), str(call), "--out", str(tmp_path / "response.csv")]
    assert_refused(arguments, "has 3 features and 0 inputs per step; the run expects 2 and 0", capsys)


def test_training_saves_samples_in_the_colors_of_time(touch_run: Path) -> None:
    pictures = sorted((touch_run / "samples").glob("*.svg"))
    assert pictures
    assert all(len(set(re.findall(r"stroke=\"(#\w{6})\"", path.read_text()))) > 5 for path in pictures)
