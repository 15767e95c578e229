"""The runs that ship: small, whole, with a card that tells the truth of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mdnrnn
from mdnrnn.distributions import END

FOLDER = Path(__file__).parents[1] / "checkpoints"
RUNS = ("doodles", "kanji")
LARGEST = 8_000_000
FIGURE = r"\*\*(\d+\.\d+)\*\* nats a drawing"


def card(name: str) -> str:
    return (FOLDER / name / "README.md").read_text(encoding="utf-8")


def test_nothing_else_ships() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*RUNS, "README.md"}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_small_and_has_what_its_card_needs(name: str) -> None:
    assert sum(path.stat().st_size for path in (FOLDER / name).rglob("*")) < LARGEST
    config = mdnrnn.load(FOLDER / name).config
    assert config.facts.licence in card(name)
    assert "non-commercial" not in config.facts.licence.lower()
    assert "NC" not in config.facts.licence.split("-")
    preset = {"sketchrnn": "sketch-small", "mdnrnn": "stroke"}[config.kind]
    assert f"mdnrnn train {preset} --data {config.data} " in card(name)
    assert os.sep not in config.data  # a name that means the same everywhere
    assert re.search(FIGURE, card(name))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_draws_drawings_that_come_to_an_end(name: str) -> None:
    """At temperature 0.4 nine of ten do, at least; seed fixed."""
    drawn = mdnrnn.load(FOLDER / name).generate(20, sampling=mdnrnn.Sampling(temperature=0.4), seed=3)
    assert len(drawn) == 20
    assert (drawn.event[np.asarray(drawn.offsets[1:]) - 1] == END).mean() >= 0.9


def test_the_doodles_are_as_likely_as_their_card_says() -> None:
    found = re.search(FIGURE, card("doodles"))
    assert found is not None
    likelihood = mdnrnn.load(FOLDER / "doodles").evaluate("test")
    # One draw of z a drawing from a fixed seed: what may differ is rounding, from machine to machine.
    assert likelihood.nats_per_sequence == pytest.approx(float(found[1]), abs=0.5)
    assert set(likelihood.by_class) == set(mdnrnn.open_corpus("doodles").facts.classes)


@pytest.mark.shared
def test_the_kanji_are_as_likely_as_their_card_says(shared_data: Path) -> None:
    found = re.search(FIGURE, card("kanji"))
    assert found is not None
    run = mdnrnn.load(FOLDER / "kanji")
    likelihood = run.evaluate("test", str(shared_data / "sketchrnn" / "short_kanji.npz"))
    assert likelihood.nats_per_sequence == pytest.approx(float(found[1]), abs=0.5)


def test_the_command_line_draws_kanji_from_a_clone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mdnrnn", "generate", "checkpoints/kanji", "--out", str(tmp_path / "kanji.svg")]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert "16 drawings" in done.stdout
    assert (tmp_path / "kanji.svg").read_text().count("<path") >= 16
