"""Writing texts from the command line: what it makes, and how it refuses."""

from pathlib import Path

import pytest
from defusedxml import ElementTree

from mdnrnn.cli import main
from mdnrnn.data.corpus import Metadata, pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.synthetic.corpora import make_pen_text
from tests.cli.helpers import assert_refused, train_run

Capture = pytest.CaptureFixture[str]
SIZES = ["--model.hidden", "8", "--model.window", "2", "--model.components", "2", "--steps", "3", "--validations", "1"]
KANJI = str(Path(__file__).parents[2] / "checkpoints" / "kanji")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A writer of a few steps."""
    lines = make_pen_text(12, {"train": 6, "valid": 1, "test": 1})
    return str(train_run(tmp_path_factory.mktemp("writer"), lines, "handwriting-small", *SIZES))


@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf", ".gif", ".npz", ".ndjson"])
def test_a_text_is_written_in_every_format(run: str, ending: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / f"x{ending}"
    assert main(["generate", run, "--text", "go on", "--out", str(out), "--max-steps", "12"]) == 0
    assert out.stat().st_size > 50
    assert "1 lines, 1 times" in capsys.readouterr().out


def test_lines_and_copies_are_on_pages_and_in_a_corpus(run: str, tmp_path: Path) -> None:
    arguments = ["generate", run, "--text", "see the sea\nno more", "-n", "3", "--max-steps", "9", "--seed", "4"]
    assert main([*arguments, "--out", str(tmp_path / "x.npz")]) == 0
    corpus = pipeline.read(tmp_path / "x.npz")
    assert [corpus[i].text for i in range(6)] == ["see the sea", "no more"] * 3
    assert main([*arguments, "--width", "7", "--out", str(tmp_path / "y.npz")]) == 0
    assert [pipeline.read(tmp_path / "y.npz")[i].text for i in range(3)] == ["see the", "sea", "no more"]
    assert main([*arguments, "--out", str(tmp_path / "x.svg"), "--color", "character"]) == 0
    groups = ElementTree.parse(tmp_path / "x.svg").getroot().findall(".//{http://www.w3.org/2000/svg}g")
    assert len(groups) == 1 + 3


def test_a_style_a_corrected_page_and_its_attention(run: str, tmp_path: Path) -> None:
    out, attention = tmp_path / "x.svg", tmp_path / "attention.png"
    options = ["--style", "1", "--level", "--upright", "--spacing", "1.5", "--attention", str(attention), "--bias", "1"]
    assert main(["generate", run, "--text", "go on", "--out", str(out), "--max-steps", "20", *options]) == 0
    assert out.read_bytes().startswith(b"<svg")
    assert attention.read_bytes().startswith(b"\x89PNG")


def test_graves_nats_are_told_beside_ours(run: str, capsys: Capture) -> None:
    assert main(["evaluate", run]) == 0
    assert "Graves' nats a sequence: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--text", ""], "the text is empty; expected something to write"),
        (["--text", "naïve"], "the text has 'ï', which the run has not learned; expected some of"),
        (["--text", "a" * 400], "goes on for 400 characters without a space"),
        (["--text", "a " * 20_000], "the text has 40000 characters; expected at most 20000"),
        (["--text", "a", "--style", "50"], "style 50 was asked for; expected 0 to 11, or a file"),
        (["--text", "a", "--style", "MUTE"], "say with --style-text what is written in it"),
        (["--text", "a", "--prefix", "MUTE"], "a text was given beside a prefix or a label"),
        (["--text", "a", "--label", "cat"], "a text was given beside a prefix or a label"),
        (["--text", "a", "--attention", "x.gif"], "expected one of .svg, .png, .pdf"),
        (["--text", "a", "--attention", "OUT"], "was asked for twice"),
        (["--text", "a", "--prefix-points", "3"], "a text was given beside a prefix or a label"),
        (["--text", "a", "--spacing", "0"], "the spacing is 0.0; expected 0.2 to 10"),
        (["--text", "a", "--style-text", "b"], "--style-text goes with a style"),
        (["--text", "a", "--style", ""], "the style is empty"),
        (["--text", "a", "--style", "9" * 5000], "was asked for; expected 0 to 11, or a file"),
        (["--text", "a", "--style", "MUTE:1"], "was asked for; expected 0 to 0, or a file"),
        (["--text", "a", "--width", "0"], "lines of 0 characters were asked for; expected 1 to"),
        (["--text", "a", "--width", "100000"], "lines of 100000 characters were asked for"),
        (["--spacing", "2"], "--spacing goes with a text"),
        (["--level"], "--level goes with a text; give one with --text"),
        (["--color", "character"], "--color character goes with a text"),
        ([], "the run writes texts; say which: --text"),
    ],
)
def test_mistakes(run: str, options: list[str], complaint: str, tmp_path: Path, capsys: Capture) -> None:
    lines = make_pen_text(1, {"train": 1})
    mute = pack(Metadata(name="mute", bin_width=1.0), {"train": [lines[0]._replace(text=None, writer=None)]})
    native.write(mute, tmp_path / "mute.npz")
    places = {"MUTE": str(tmp_path / "mute.npz"), "OUT": str(tmp_path / "x.svg")}
    for name, place in places.items():
        options = [option.replace(name, place) for option in options]
    assert_refused(["generate", run, "--out", str(tmp_path / "x.svg"), *options], complaint, capsys)
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.parametrize("look", ["--level", "--upright", "--spacing=2", "--color=character", "--columns=1"])
def test_what_only_a_picture_has(run: str, look: str, tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "x.npz")
    assert_refused(["generate", run, "--text", "a", "--out", out, look], "are of pictures; expected .svg", capsys)


def test_a_run_that_does_not_write(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["generate", KANJI, "--out", str(tmp_path / "x.svg")]
    assert_refused([*arguments, "--text", "a"], "the run does not write texts", capsys)
    assert_refused([*arguments, "--style", "1"], "--style goes with a text", capsys)


def test_data_without_texts_are_refused(tmp_path: Path, capsys: Capture) -> None:
    arguments = ["train", "handwriting-small", "--data", "doodles", "--out", str(tmp_path / "run"), "--steps", "1"]
    assert_refused(arguments, "6000 of 6000 drawings in doodles do not say what is written in them", capsys)
