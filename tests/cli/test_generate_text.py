"""`mdnrnn generate --text`: formats, lines, styles, corrections, the picture of the attention, and errors."""

from pathlib import Path

import pytest

from mdnrnn.cli import main
from mdnrnn.data.corpus import pack
from mdnrnn.data.formats import native
from mdnrnn.data.importing import pipeline
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.synthetic.corpora import make_pen_text
from tests.cli.helpers import FIRST_BYTES, SVG, assert_refused, svg_root

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("extension", [".svg", ".png", ".pdf", ".gif", ".npz", ".ndjson"])
def test_text_is_written_in_every_format(
    handwriting_run: Path, extension: str, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / f"x{extension}"
    arguments = ["generate", str(handwriting_run), "--text", "so it is", "--out", str(out), "--max-steps", "12"]
    assert main(arguments) == 0
    assert out.read_bytes().startswith(FIRST_BYTES[extension])
    assert capsys.readouterr().out.startswith(f"{out}: 1 line, 1 page, ")


def test_copies_are_pages_of_a_picture_and_repeated_lines_of_a_corpus(handwriting_run: Path, tmp_path: Path) -> None:
    text, options = "see the sea\nno more", ["-n", "3", "--max-steps", "9", "--seed", "4"]
    arguments = ["generate", str(handwriting_run), "--text", text, *options]
    assert main([*arguments, "--out", str(tmp_path / "x.npz")]) == 0
    corpus = pipeline.read(tmp_path / "x.npz")
    assert [corpus[i].text for i in range(6)] == ["see the sea", "no more"] * 3
    assert main([*arguments, "--width", "7", "--out", str(tmp_path / "y.npz")]) == 0
    wrapped = pipeline.read(tmp_path / "y.npz")
    assert [wrapped[i].text for i in range(3)] == ["see the", "sea", "no more"]
    assert main([*arguments, "--out", str(tmp_path / "x.svg"), "--color", "character"]) == 0
    assert len(svg_root(tmp_path / "x.svg").findall(f".//{SVG}g")) == 1 + 3


def test_style_corrections_and_attention_are_accepted_together(handwriting_run: Path, tmp_path: Path) -> None:
    out, attention = tmp_path / "x.svg", tmp_path / "attention.png"
    options = ["--style", "1", "--level", "--upright", "--spacing", "1.5", "--attention", str(attention), "--bias", "1"]
    arguments = ["generate", str(handwriting_run), "--text", "so it is", "--out", str(out), "--max-steps", "20"]
    assert main([*arguments, *options]) == 0
    assert out.read_bytes().startswith(FIRST_BYTES[".svg"])
    assert attention.read_bytes().startswith(FIRST_BYTES[".png"])


MISTAKES = {
    "empty text": (["--text", ""], "text: received an empty text"),
    "unknown character": (
        ["--text", "naïve"],
        "texts: received 'ï', which the run's alphabet does not contain; expected characters from",
    ),
    "word longer than a line": (["--text", "a" * 400], "received 400 characters without a space"),
    "text too long": (["--text", "a " * 20_000], "received 40000 characters, expected at most 20000"),
    "style out of range": (["--text", "a", "--style", "50"], "received 50, expected an index from 0 to 11, or a file"),
    "style with many digits": (["--text", "a", "--style", "9" * 5000], "expected an index from 0 to 11, or a file"),
    "style out of range of a file": (["--text", "a", "--style", "BARE:1"], "expected an index from 0 to 0, or a file"),
    "style without text": (["--text", "a", "--style", "BARE"], "pass its text with --style-text"),
    "empty style": (["--text", "a", "--style", ""], "style: received nothing"),
    "style text without style": (["--text", "a", "--style-text", "b"], "--style-text needs a style: pass --style"),
    "prefix": (["--text", "a", "--prefix", "BARE"], "--text cannot be combined with --prefix or --label; use --style"),
    "prefix points": (["--text", "a", "--prefix-points", "3"], "--text cannot be combined with --prefix"),
    "label": (["--text", "a", "--label", "cat"], "--text cannot be combined with --prefix or --label; use --style"),
    "attention as GIF": (["--text", "a", "--attention", "x.gif"], "expected one of .svg, .png, .pdf"),
    "attention in the same file": (["--text", "a", "--attention", "OUT"], "--attention: received the same file as"),
    "no spacing": (["--text", "a", "--spacing", "0"], "--spacing: received 0.0, expected 0.2 to 10"),
    "no width": (["--text", "a", "--width", "0"], "width: received 0, expected 1 to"),
    "width too large": (["--text", "a", "--width", "100000"], "width: received 100000, expected 1 to"),
    "workers": (["--text", "a", "--workers", "2"], "--workers: received 2 with --text, expected 1"),
    "spacing without text": (["--spacing", "2"], "received --spacing without a text; pass --text"),
    "level without text": (["--level"], "received --level without a text; pass --text"),
    "colors without text": (["--color", "character"], "received --color character without a text; pass --text"),
    "no text": ([], "this model needs a text: pass --text"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_in_one_line_and_writes_nothing(
    handwriting_run: Path, options: list[str], message: str, tmp_path: Path, capsys: Capture
) -> None:
    line = make_pen_text(1, {"train": 1})[0]._replace(text=None, writer=None)
    bare, out = tmp_path / "bare.npz", tmp_path / "x.svg"
    native.write(pack(Metadata(name="bare", bin_width=1.0), {"train": [line]}), bare)
    options = [option.replace("BARE", str(bare)).replace("OUT", str(out)) for option in options]
    assert_refused(["generate", str(handwriting_run), "--out", str(out), *options], message, capsys)
    assert list(tmp_path.iterdir()) == [bare]


@pytest.mark.parametrize("option", ["--level", "--upright", "--spacing=2", "--color=character", "--columns=1"])
def test_picture_option_is_refused_for_data(
    handwriting_run: Path, option: str, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ["generate", str(handwriting_run), "--text", "a", "--out", str(tmp_path / "x.npz"), option]
    assert_refused(arguments, "apply to pictures only; expected one of .svg, .png, .pdf, .gif", capsys)


def test_options_for_texts_are_refused_by_models_without_texts(
    stroke_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ["generate", str(stroke_run), "--out", str(tmp_path / "x.svg")]
    assert_refused([*arguments, "--text", "a"], "expected a text-conditional model", capsys)
    assert_refused([*arguments, "--style", "1"], "received --style without a text; pass --text", capsys)
