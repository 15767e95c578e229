"""The runs that ship: small, whole, with a card that tells the truth of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.data.batches import Batches
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.formats import native
from mdnrnn.data.strokes import from_polylines
from mdnrnn.data.synthetic import pen_text, texts
from mdnrnn.data.synthetic.corpora import PEN_TEXT_LINES, PEN_TEXT_WRITERS, make_pen_text, make_writer
from mdnrnn.events import END
from mdnrnn.training.step import validation_loss

FOLDER = Path(__file__).parents[1] / "checkpoints"
RUNS = {"doodles": "sketch-small", "kanji": "stroke", "handwriting": "handwriting-small"}
"""Each with its preset."""
LARGEST = 8_000_000
FIGURE = r"\*\*(\d+\.\d+)\*\* nats per (?:drawing|line)"


def card(name: str) -> str:
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")


def test_nothing_else_ships() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*RUNS, "README.md"}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_small_and_has_what_its_card_needs(name: str) -> None:
    assert sum(path.stat().st_size for path in (FOLDER / name).rglob("*")) < LARGEST
    config = mdnrnn.load(FOLDER / name).config
    assert config.metadata.license in card(name)
    assert "non-commercial" not in config.metadata.license.lower()
    assert "NC" not in config.metadata.license.split("-")
    assert f"mdnrnn train {RUNS[name]} --data {config.data} " in card(name)
    assert os.sep not in config.data  # a name that means the same everywhere
    assert re.search(FIGURE, card(name))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_draws_drawings_that_come_to_an_end(name: str) -> None:
    """At temperature 0.4 nine of ten do, at least; seed fixed."""
    run = mdnrnn.load(FOLDER / name)
    lines = ["of all things"] * 20 if run.model.uses_text else None
    drawn = run.generate(20, texts=lines, sampling=mdnrnn.Sampling(temperature=0.4), seed=3)
    assert len(drawn) == 20
    assert (drawn.event[np.asarray(drawn.offsets[1:]) - 1] == END).mean() >= 0.9


@pytest.mark.parametrize("name", ["doodles", "handwriting"])
def test_in_bfloat16_a_run_is_as_likely_to_half_a_percent(name: str) -> None:
    """Of what was trained: its nats are small differences, where an untrained model's are not."""
    run = mdnrnn.load(FOLDER / name)
    writers = {"train": 1, "valid": 6, "test": 1}
    corpus = run.with_run_classes(open_corpus("doodles") if name == "doodles" else make_pen_text(4, writers, seed=5))
    data, nats = Batches(corpus, "valid", run.config.normalizer, max_sequences=120), []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)  # the same draws of z
        nats.append(validation_loss(run.model, data, torch.device("cpu"), precision)["valid_loss"])
    assert nats[1] == pytest.approx(nats[0], rel=5e-3)
    assert nats[1] != nats[0]


def test_the_doodles_are_as_likely_as_their_card_says() -> None:
    found = re.search(FIGURE, card("doodles"))
    assert found is not None
    likelihood = mdnrnn.load(FOLDER / "doodles").evaluate("test")
    # One draw of z a drawing from a fixed seed: what may differ is rounding, from machine to machine.
    assert likelihood.nll_per_sequence == pytest.approx(float(found[1]), abs=0.5)
    assert set(likelihood.by_class) == set(mdnrnn.open_corpus("doodles").metadata.classes)


@pytest.mark.shared
def test_the_kanji_are_as_likely_as_their_card_says(shared_data: Path) -> None:
    found = re.search(FIGURE, card("kanji"))
    assert found is not None
    run = mdnrnn.load(FOLDER / "kanji")
    likelihood = run.evaluate("test", str(shared_data / "sketchrnn" / "short_kanji.npz"))
    assert likelihood.nll_per_sequence == pytest.approx(float(found[1]), abs=0.5)


@pytest.mark.slow
def test_the_lines_are_as_likely_as_their_card_says() -> None:
    """Slow where pen text has not been made before."""
    found = re.search(FIGURE, card("handwriting"))
    assert found is not None
    assert mdnrnn.load(FOLDER / "handwriting").evaluate("test").nll_per_sequence == pytest.approx(
        float(found[1]), abs=0.5
    )


def test_the_hands_that_ship_are_lines_of_the_test_split() -> None:
    """One printed, one joined, each made again from its writer's number."""
    hands = native.read(FOLDER / "handwriting" / "hands.npz")
    learned = PEN_TEXT_WRITERS["train"] + PEN_TEXT_WRITERS["valid"]
    for hand, script in zip((hands[0], hands[1]), ("printed", "joined"), strict=True):
        assert hand.writer is not None
        assert learned <= hand.writer < learned + PEN_TEXT_WRITERS["test"]
        writer = make_writer(hand.writer)
        assert writer.script == script
        lines = []
        for number in range(PEN_TEXT_LINES):
            rng = np.random.default_rng([0, hand.writer, 1 + number])
            lines.append((text := texts.sample_line(rng), from_polylines(pen_text.write(text, writer, rng))))
        found = [drawn for text, drawn in lines if text == hand.text]
        assert len(found) == 1
        np.testing.assert_array_equal(hand.motion, found[0][0])
        np.testing.assert_array_equal(hand.event, found[0][1])


def test_the_command_line_writes_in_both_hands_from_a_clone(tmp_path: Path) -> None:
    """As often lifted as the writers lift: a printed hand between letters, a joined one seldom."""
    hands, text, counts = native.read(FOLDER / "handwriting" / "hands.npz"), "two hands, one text", []
    for number in range(2):
        picture = tmp_path / f"{number}.svg"
        style = f"checkpoints/handwriting/hands.npz:{number}"
        command = [sys.executable, "-m", "mdnrnn", "generate", "checkpoints/handwriting", "--text", text]
        options = ["--style", style, "--bias", "1", "--out", str(picture)]
        subprocess.run([*command, *options], cwd=FOLDER.parent, check=True, capture_output=True)
        counts.append(picture.read_text().count("M"))
        writer = make_writer(int(hands[number].writer or 0))
        assert counts[-1] == pytest.approx(len(pen_text.write(text, writer, np.random.default_rng(0))), rel=0.2)
    assert counts[0] > 1.2 * counts[1]


def test_the_command_line_draws_kanji_from_a_clone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mdnrnn", "generate", "checkpoints/kanji", "--out", str(tmp_path / "kanji.svg")]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert "16 drawings" in done.stdout
    assert (tmp_path / "kanji.svg").read_text().count("<path") >= 16
