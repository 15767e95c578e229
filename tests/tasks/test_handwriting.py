"""Texts on paper: broken into lines, written in a hand that is given, laid out, colored, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from defusedxml import ElementTree

import mdnrnn
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import to_polylines
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.text_lines import measure_line
from mdnrnn.errors import InputError
from mdnrnn.events import DOWN, END, UP
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.models.handwriting import check_text_corpus
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.tasks.handwriting import (
    MAX_CHARACTERS,
    WrittenLines,
    layout_page,
    read_style,
    save_handwriting,
    wrap_text,
    write,
    write_pages,
)
from mdnrnn.training.config import SequenceTrainConfig


@pytest.fixture(scope="module")
def lines() -> Corpus:
    return make_pen_text(8, {"train": 4, "valid": 1, "test": 1})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, lines: Corpus) -> Run:
    """Of a writer that has learned next to nothing; its window creeps, and it never thinks that it is done."""
    folder = tmp_path_factory.mktemp("written")
    native.write(lines, folder / "lines.npz")
    mdnrnn.train(
        PRESETS["handwriting-small"],
        str(folder / "lines.npz"),
        folder / "run",
        model=HandwritingConfig(hidden=8, window=2, components=3),
        training=SequenceTrainConfig(steps=3, batch_size=8, validations=1),
    )
    run = mdnrnn.load(folder / "run")
    with torch.no_grad():
        run.model.get_parameter("decoder.head.linear.bias")[-1] = -100.0
        run.model.get_parameter("decoder.lstm.first.window.bias")[4:] = -4.0
    return run


def test_a_run_knows_how_long_texts_and_their_lines_may_be(run: Run, lines: Corpus) -> None:
    texts = [lines[i].text or "" for i in range(len(lines))]
    assert run.config.longest_text == max(map(len, texts))
    expected = max(len(lines[i].event) / len(text) for i, text in enumerate(texts))
    assert run.config.steps_per_character == pytest.approx(expected)
    assert run.config.shape.alphabet == "".join(sorted(set("".join(texts))))
    assert list(run.folder.joinpath("samples").glob("step-*.svg"))


def test_lines_are_broken_at_spaces_and_line_ends(run: Run) -> None:
    assert wrap_text(run, "one two three\n\nfour", 7) == ["one two", "three", "four"]
    assert wrap_text(run, " a  b ") == ["a  b"]
    longest = run.config.longest_text
    assert max(map(len, wrap_text(run, "word " * 50))) <= longest


@pytest.mark.parametrize(
    ("text", "width", "complaint"),
    [
        ("", None, "the text is empty"),
        (" \n ", None, "the text is empty"),
        ("a" * 500, None, "goes on for 500 characters without a space"),
        ("a " * MAX_CHARACTERS, None, f"has {2 * MAX_CHARACTERS} characters; expected at most {MAX_CHARACTERS}"),
        ("a", 0, "lines of 0 characters were asked for; expected 1 to"),
    ],
)
def test_texts_that_cannot_be_lines(run: Run, text: str, width: int | None, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        wrap_text(run, text, width)


def test_a_line_is_written_alike_alone_and_among_others_of_any_length(run: Run, lines: Corpus) -> None:
    texts = [lines[i].text or "" for i in (0, 1, 2)]
    several = write(run, texts, sampling=Sampling(temperature=0.5), seed=3)
    alone = write(run, texts[:1], sampling=Sampling(temperature=0.5), seed=3)
    np.testing.assert_array_equal(several.lines[0].motion, alone.lines[0].motion)
    assert [several.lines[i].text for i in range(3)] == texts
    for i, text in enumerate(texts):
        steps = len(several.lines[i].event)
        assert steps <= np.ceil(1.25 * run.config.steps_per_character * (len(text) + 4))
        assert several.windows[i].shape == (steps, len(text) + 1)


def test_what_follows_a_style_goes_on_from_it_and_leaves_it_out(run: Run, lines: Corpus) -> None:
    """The same noise after the same strokes: what a prefix that is drawn again is followed by."""
    style, text = lines[5], lines[0].text or ""
    written = write(run, [text], style, seed=1)
    whole = run.generate(1, texts=[f"{style.text} {text}"], prefix=style, seed=1)[0]
    given = len(style.event)
    np.testing.assert_array_equal(whole.motion[:given], style.motion)
    assert whole.event[given - 1] == UP
    after, line = whole.motion[given:], written.lines[0]
    assert line.text == text
    dot = whole.event[given] != DOWN
    np.testing.assert_array_equal(line.motion[1 if dot else 0 :], after[1:])
    assert not (dot and line.motion[0].any())
    assert written.windows[0].shape == (len(line.event), len(text) + 1)
    other = write(run, [text], lines[9], seed=1).lines[0]
    assert len(other.motion) != len(line.motion) or (other.motion != line.motion).any()


def test_the_lines_of_a_page_go_on_from_its_first_unless_a_style_is_given(run: Run, lines: Corpus) -> None:
    texts = [lines[i].text or "" for i in (0, 1, 2)]
    pages = write_pages(run, texts, 2, seed=3)
    begun = write(run, texts[:1] * 2, seed=3)
    for number, page in enumerate(pages):
        assert [page.lines[i].text for i in range(3)] == texts
        np.testing.assert_array_equal(page.lines[0].motion, begun.lines[number].motion)
        rest = write(run, texts[1:], begun.lines[number], seed=4 + number)
        for i in (0, 1):
            np.testing.assert_array_equal(page.lines[1 + i].motion, rest.lines[i].motion)
            np.testing.assert_array_equal(page.windows[1 + i], rest.windows[i])
    styled = write_pages(run, texts, 2, lines[5], seed=3)
    every = write(run, texts * 2, lines[5], seed=3)
    for i in range(6):
        np.testing.assert_array_equal(styled[i // 3].lines[i % 3].motion, every.lines[i].motion)


def test_a_single_step_after_a_style_is_a_dot(run: Run, lines: Corpus) -> None:
    written = write(run, ["a"], lines[5], max_steps=1)
    assert written.lines[0].motion.tolist() == [[0, 0]]
    assert len(layout_page(written, cut=True).strokes) == 1


def test_a_style_that_was_cut_short_is_lifted(run: Run, lines: Corpus) -> None:
    cut = lines[5]._replace(motion=lines[5].motion[:7], event=lines[5].event[:7])
    assert cut.event[-1] == DOWN
    lifted = cut._replace(event=np.append(cut.event[:-1], UP))
    one, other = (write(run, ["ab"], style, seed=2).lines[0] for style in (cut, lifted))
    np.testing.assert_array_equal(one.motion, other.motion)


def test_the_most_steps_are_of_texts_that_have_characters() -> None:
    """A sequence without a text says nothing of how many steps a character takes."""
    silent = [_line((1, 0, DOWN), (1, 0, END))._replace(text=text) for text in ("ab", "", "é")]
    corpus = pack(Metadata(name="x", bin_width=1.0), {"train": silent})
    assert corpus.text_lengths.tolist() == [2, 0, 1]
    assert corpus.max_steps_per_character == 2
    with pytest.raises(InputError, match="1 of 3 drawings in x do not say what is written in them"):
        check_text_corpus(corpus)


def _line(*steps: tuple[float, float, int]) -> Sequence:
    motion, event = np.array([step[:2] for step in steps]), np.array([step[2] for step in steps], np.uint8)
    return Sequence(motion, event, text="ab")


def _written(sequence: Sequence, owners: list[int]) -> WrittenLines:
    windows = np.eye(3)[owners]
    return WrittenLines(pack(Metadata(name="x", bin_width=1.0), {"test": [sequence]}), [windows])


def test_strokes_are_cut_between_characters() -> None:
    """A line that goes on from a to b, then a lift and a stroke of b's, and a dot."""
    sequence = _line((1, 0, DOWN), (1, 1, DOWN), (1, 0, UP), (3, 0, DOWN), (0, 2, UP), (4, 0, END))
    found = layout_page(_written(sequence, [0, 0, 1, 1, 1, 1]), cut=True)
    assert found.characters == (0, 1, 1, 1)
    pieces = [(stroke - found.strokes[0][0]).tolist() for stroke in found.strokes]
    assert pieces == [[[0, 0], [1, 0], [2, 1]], [[2, 1], [3, 1]], [[6, 1], [6, 3]], [[10, 3]]]


def _pieces(strokes: list[np.ndarray]) -> np.ndarray:
    """All straight pieces and dots, in order, (n, 4)."""
    pieces = [np.concatenate([s[:-1], s[1:]], 1) if len(s) > 1 else np.tile(s, 2) for s in strokes]
    return np.concatenate(pieces)


def test_pieces_are_the_drawing_however_they_are_cut(lines: Corpus) -> None:
    sequence, rng = lines[3], np.random.default_rng(0)
    owners = np.sort(rng.integers(0, len(sequence.text or ""), len(sequence.event)))
    windows = np.eye(len(sequence.text or "") + 1)[owners]
    found = layout_page(WrittenLines(pack(lines.metadata, {"test": [sequence]}), [windows]), cut=True)
    shift = found.strokes[0][0]
    expected = to_polylines(sequence.motion, sequence.event)
    assert len(found.strokes) > len(expected)
    np.testing.assert_allclose(_pieces(found.strokes) - np.tile(shift, 2), _pieces(expected))


def _page(lines: Corpus, *indices: int) -> WrittenLines:
    sequences = [lines[i] for i in indices]
    windows = [np.eye(len(s.text or "") + 1)[np.zeros(len(s.event), int)] for s in sequences]
    return WrittenLines(pack(lines.metadata, {"test": sequences}), windows)


def test_a_page_is_cut_only_where_characters_are_to_be_told(lines: Corpus) -> None:
    page = _page(lines, 0, 1, 2)
    whole, cut = layout_page(page), layout_page(page, cut=True)
    assert whole.characters == ()
    assert len(whole.strokes) == sum(len(lines.drawing(i)) for i in range(3))
    assert len(cut.strokes) == len(cut.characters)
    assert [len(part.lines) for part in page.parts(2)] == [2, 1]


def test_lines_stand_below_each_other_level_and_upright_where_asked(lines: Corpus) -> None:
    page = _page(lines, 0, 1, 2)
    usual, wide = layout_page(page), layout_page(page, spacing=2.0)
    tall, usual_tall = (np.ptp(np.concatenate(each.strokes)[:, 1]) for each in (wide, usual))
    assert tall > 1.4 * usual_tall
    shape = measure_line(layout_page(_page(lines, 1), level=True, upright=True).strokes)
    assert abs(shape.slope) < 0.004
    assert abs(shape.slant) < 2
    assert measure_line(layout_page(_page(lines, 1)).strokes).slant != pytest.approx(shape.slant, abs=1)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_small_letters_are_as_high_on_a_page_of_many_lines(lines: Corpus, count: int, tmp_path: Path) -> None:
    """12 units of the page, more or less; the pen a tenth of that."""
    save_handwriting([_page(lines, *range(count))], tmp_path / "x.svg")
    root = ElementTree.parse(tmp_path / "x.svg").getroot()
    group = root.find("{http://www.w3.org/2000/svg}g")
    assert group is not None
    width = float(group.attrib["stroke-width"])
    shown = [np.array(svg_points(path.attrib["d"])) for path in group.iter("{http://www.w3.org/2000/svg}path")]
    page = layout_page(_page(lines, *range(count)))
    scale = np.ptp(np.concatenate(shown)[:, 0]) / np.ptp(np.concatenate(page.strokes)[:, 0])
    assert 9 < scale * page.height < 16
    assert width == pytest.approx(1.2, abs=0.1)


def svg_points(data: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in data.split() if "," in pair]  # type: ignore[misc]


@pytest.mark.parametrize("ending", [".svg", ".png", ".gif", ".npz"])
def test_pages_are_saved_in_every_format(run: Run, lines: Corpus, tmp_path: Path, ending: str) -> None:
    texts = [lines[i].text or "" for i in (0, 1)]
    written = write(run, texts * 2, max_steps=20)
    save_handwriting(written.parts(2), tmp_path / f"out{ending}", color="character")
    if ending == ".npz":
        assert [native.read(tmp_path / "out.npz")[i].text for i in range(4)] == texts * 2
    else:
        assert (tmp_path / f"out{ending}").stat().st_size > 100


def test_a_style_is_a_line_of_the_test_split_or_of_a_file(run: Run, lines: Corpus, tmp_path: Path) -> None:
    test = lines.select_split("test")
    assert read_style(run, "2").text == test[2].text
    drawn = tmp_path / "mine.npz"
    native.write(
        pack(Metadata(name="mine", bin_width=1.0), {"train": [lines[4]._replace(text=None, writer=None)]}), drawn
    )
    with pytest.raises(InputError, match="no text beside its strokes; say with --style-text"):
        read_style(run, str(drawn))
    mine = read_style(run, str(drawn), "ab")
    assert mine.text == "ab"
    np.testing.assert_array_equal(mine.motion, lines[4].motion)
    with pytest.raises(InputError, match="style 99 was asked for; expected 0 to 7"):
        read_style(run, "99")


def test_what_cannot_be_written(run: Run, lines: Corpus) -> None:
    with pytest.raises(InputError, match="'é', which the run has not learned"):
        write(run, ["é"])
    with pytest.raises(InputError, match="a line is empty"):
        write(run, ["a", " "], lines[0])
    with pytest.raises(InputError, match="the style has no text"):
        write(run, ["a"], lines[0]._replace(text=None))
    with pytest.raises(InputError, match="received none; give one with --text"):
        run.generate(2)
    with pytest.raises(InputError, match="1 texts were given for 2 lines"):
        run.generate(2, texts=["a"])
    kanji = mdnrnn.load(Path(__file__).parents[2] / "checkpoints" / "kanji")
    with pytest.raises(InputError, match="does not write texts"):
        write(kanji, ["a"])
    with pytest.raises(InputError, match="does not write texts"):
        kanji.generate(1, texts=["a"])
