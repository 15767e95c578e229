"""Handwriting synthesis: wrapping, writing with and without a style, pages, styles, and errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mdnrnn
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.device import single_thread
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.configs import HandwritingConfig
from mdnrnn.models.handwriting import check_text_corpus
from mdnrnn.pen_events import DOWN, END, UP
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.tasks.handwriting import MAX_CHARACTERS, read_style, wrap_text, write, write_pages
from mdnrnn.tasks.handwriting_layout import layout_page
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import make_run, random_corpus, shorten


@pytest.fixture(scope="module")
def lines() -> Corpus:
    """Return the first steps of lines of pen text by 3 writers, 8 lines each."""
    return shorten(make_pen_text(8, {"train": 1, "valid": 1, "test": 1}), 90)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, lines: Corpus) -> Run:
    """Return a run of three training steps whose window moves slowly and which does not end lines early."""
    folder = tmp_path_factory.mktemp("handwriting")
    native.write(lines, folder / "lines.npz")
    with single_thread():
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
        run.model.get_parameter("decoder.core.first.window.bias")[4:] = -4.0
    return run


def texts_of(lines: Corpus, *indices: int) -> list[str]:
    """Return the texts of lines."""
    return [lines[i].text or "" for i in indices]


def test_run_stores_alphabet_text_length_and_steps_per_character(run: Run, lines: Corpus) -> None:
    texts = texts_of(lines, *range(len(lines)))
    assert run.config.longest_text == max(map(len, texts))
    expected = max(len(lines[i].event) / len(text) for i, text in enumerate(texts))
    assert run.config.steps_per_character == pytest.approx(expected)
    assert run.config.shape.alphabet == "".join(sorted(set("".join(texts))))
    assert list(run.folder.joinpath("samples").glob("step-*.svg"))


def test_text_is_wrapped_at_spaces_and_line_ends(run: Run) -> None:
    assert wrap_text(run, "one two three\n\nfour", 7) == ["one two", "three", "", "four"]
    assert wrap_text(run, " a  b ") == ["a  b"]
    assert max(map(len, wrap_text(run, "word " * 50))) <= run.config.longest_text


@pytest.mark.parametrize(
    ("text", "width", "message"),
    [
        ("", None, "received an empty text"),
        (" \n ", None, "received an empty text"),
        ("a" * 500, None, "received 500 characters without a space"),
        ("a " * MAX_CHARACTERS, None, f"received {2 * MAX_CHARACTERS} characters, expected at most {MAX_CHARACTERS}"),
        ("a", 0, "width: received 0, expected 1 to"),
    ],
    ids=["empty", "spaces", "long word", "long text", "no width"],
)
def test_invalid_text_is_refused(run: Run, text: str, width: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrap_text(run, text, width)


@pytest.mark.parametrize("style", [False, True])
def test_blank_line_is_blank_on_the_page_and_changes_no_other_line(run: Run, lines: Corpus, style: bool) -> None:
    texts = texts_of(lines, 0, 1)
    hand = lines[2] if style else None
    (spaced,) = write_pages(run, [texts[0], "", " ", texts[1]], style=hand, max_steps=60)
    (plain,) = write_pages(run, texts, style=hand, max_steps=60)
    assert spaced.rows == (0, 3)
    np.testing.assert_array_equal(spaced.lines.motion, plain.lines.motion)
    first, second = (len(plain.lines.drawing(i)) for i in range(2))
    strokes, expected = layout_page(spaced).strokes, layout_page(plain).strokes
    assert len(strokes) == first + second
    shift = strokes[first][0] - expected[first][0]
    assert shift[0] == pytest.approx(0)
    assert shift[1] > 0
    assert all(np.allclose(a, b) for a, b in zip(strokes[:first], expected[:first], strict=True))


def test_decomposed_text_is_the_text_that_it_looks_like(lines: Corpus, tmp_path: Path) -> None:
    """The corpus has a decomposed text, as other programs may write it; the alphabet has the composed character."""
    rows = [lines[i]._replace(label=None, writer=None, text="caf\u00e9") for i in range(8)]
    composed = pack(lines.metadata, {"train": rows, "valid": rows})
    data = b"".join(["cafe\u0301".encode()] * 16)
    decomposed = replace(composed, text=np.frombuffer(data, np.uint8), text_offsets=6 * np.arange(17))
    model = HandwritingConfig(hidden=8, window=2, components=3)
    training = SequenceTrainConfig(steps=1, batch_size=4, validations=1)
    with single_thread():
        mdnrnn.train("handwriting-small", decomposed, tmp_path / "run", model=model, training=training)
    run = mdnrnn.load(tmp_path / "run")
    assert run.config.shape.alphabet == "acf\u00e9"
    assert wrap_text(run, "cafe\u0301") == ["caf\u00e9"]
    written = [write(run, [text], max_steps=5).lines for text in ("caf\u00e9", "cafe\u0301")]
    assert written[1][0].text == "caf\u00e9"
    np.testing.assert_array_equal(written[0].motion, written[1].motion)


def test_line_does_not_depend_on_the_number_of_lines(run: Run, lines: Corpus) -> None:
    texts = texts_of(lines, 0, 1, 2)
    several = write(run, texts, sampling=Sampling(temperature=0.5), seed=3)
    one = write(run, texts[:1], sampling=Sampling(temperature=0.5), seed=3)
    np.testing.assert_array_equal(several.lines[0].motion, one.lines[0].motion)
    assert [several.lines[i].text for i in range(3)] == texts
    for i, text in enumerate(texts):
        steps = len(several.lines[i].event)
        assert steps <= np.ceil(1.25 * run.config.steps_per_character * (len(text) + 4))
        assert several.windows[i].shape == (steps, len(text) + 1)


def test_line_with_a_style_equals_the_continuation_of_the_style_as_prefix(run: Run, lines: Corpus) -> None:
    style, text = lines[5], lines[0].text or ""
    written = write(run, [text], style, seed=1, max_steps=60)
    whole = run.generate(1, texts=[f"{style.text} {text}"], prefix=style, seed=1, max_steps=60)[0]
    steps = len(style.event)
    np.testing.assert_array_equal(whole.motion[:steps], style.motion)
    assert whole.event[steps - 1] == UP
    continuation, line = whole.motion[steps:], written.lines[0]
    assert line.text == text
    starts_with_dot = whole.event[steps] != DOWN
    np.testing.assert_array_equal(line.motion[1 if starts_with_dot else 0 :], continuation[1:])
    assert not (starts_with_dot and line.motion[0].any())
    assert written.windows[0].shape == (len(line.event), len(text) + 1)
    other = write(run, [text], lines[9], seed=1, max_steps=60).lines[0]
    assert len(other.motion) != len(line.motion) or (other.motion != line.motion).any()


def test_strokes_of_a_style_do_not_count(run: Run, lines: Corpus) -> None:
    """Lines end with their second stroke, or equal those without a limit."""
    style, texts = lines[5], texts_of(lines, 0, 1, 2)
    assert (style.event != DOWN).sum() > 2
    plain, limited = (
        write(run, texts, style, sampling=sampling, seed=1, max_steps=60).lines
        for sampling in (None, Sampling(max_strokes=2))
    )
    strokes = [int((plain[i].event != DOWN).sum()) for i in range(3)]
    assert max(strokes) > 2
    for i in range(3):
        assert (limited[i].event != DOWN).sum() == min(strokes[i], 2)
        np.testing.assert_array_equal(limited[i].motion, plain[i].motion[: len(limited[i].event)])


def test_lines_of_a_page_imitate_its_first_line_unless_a_style_is_given(run: Run, lines: Corpus) -> None:
    texts = texts_of(lines, 0, 1, 2)
    first_lines = write(run, texts[:1] * 2, seed=4, max_steps=30)
    pages = write_pages(run, texts, 2, seed=4, max_steps=30)
    assert len(pages) == 2
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(page.lines[0].motion, first_lines.lines[number].motion)
        rest = write(run, texts[1:], first_lines.lines[number], seed=5 + number, max_steps=30)
        for i in (0, 1):
            np.testing.assert_array_equal(page.lines[1 + i].motion, rest.lines[i].motion)
            np.testing.assert_array_equal(page.windows[1 + i], rest.windows[i])
    styled = write_pages(run, texts, 2, lines[5], seed=3, max_steps=30)
    expected = write(run, texts * 2, lines[5], seed=3, max_steps=30)
    for i in range(6):
        np.testing.assert_array_equal(styled[i // 3].lines[i % 3].motion, expected.lines[i].motion)


def test_single_step_after_a_style_is_a_dot(run: Run, lines: Corpus) -> None:
    written = write(run, ["a"], lines[5], max_steps=1)
    assert written.lines[0].motion.tolist() == [[0, 0]]
    assert len(layout_page(written, cut=True).strokes) == 1


def test_pen_is_lifted_after_an_unfinished_style(run: Run, lines: Corpus) -> None:
    unfinished = lines[5]._replace(motion=lines[5].motion[:7], event=lines[5].event[:7])
    assert unfinished.event[-1] == DOWN
    lifted = unfinished._replace(event=np.append(unfinished.event[:-1], UP))
    first, second = (write(run, ["ab"], style, seed=2, max_steps=60).lines[0] for style in (unfinished, lifted))
    np.testing.assert_array_equal(first.motion, second.motion)


def test_steps_per_character_ignore_sequences_without_text() -> None:
    motion, event = np.array([[1, 0], [1, 0]]), np.array([DOWN, END], np.uint8)
    sequences = [Sequence(motion, event, text=text) for text in ("ab", "", "é")]
    corpus = pack(Metadata(name="x", bin_width=1.0), {"train": sequences})
    assert corpus.text_lengths.tolist() == [2, 0, 1]
    assert corpus.max_steps_per_character == 2
    with pytest.raises(InputError, match="1 of 3 drawings have no text"):
        check_text_corpus(corpus)


def test_style_is_a_line_of_the_test_split_or_of_a_file(run: Run, lines: Corpus, tmp_path: Path) -> None:
    test, path = lines.select_split("test"), tmp_path / "bare.npz"
    assert read_style(run, "2").text == test[2].text
    bare = [lines[i]._replace(text=None, writer=None) for i in (4, 6)]
    native.write(pack(Metadata(name="bare", bin_width=1.0), {"train": bare}), path)
    with pytest.raises(InputError, match="a line without a text; pass its text with --style-text"):
        read_style(run, str(path))
    for style, index in ((str(path), 4), (f"{path}:0", 4), (f"{path}:1", 6)):
        line = read_style(run, style, "ab")
        assert line.text == "ab"
        np.testing.assert_array_equal(line.motion, lines[index].motion)
    with pytest.raises(InputError, match="style: received 99, expected an index from 0 to 7, or a file"):
        read_style(run, "99")


def test_invalid_lines_and_styles_are_refused(run: Run, lines: Corpus) -> None:
    with pytest.raises(InputError, match="'é', which the run's alphabet does not contain"):
        write(run, ["é"])
    with pytest.raises(InputError, match="received an empty line"):
        write(run, ["a", " "], lines[0])
    with pytest.raises(InputError, match="style: received a line without a text"):
        write(run, ["a"], lines[0]._replace(text=None))
    with pytest.raises(InputError, match="--text"):
        run.generate(2)
    with pytest.raises(InputError, match="texts: received 1 for 2 sequences"):
        run.generate(2, texts=["a"])


def test_model_without_texts_is_refused() -> None:
    run = make_run(random_corpus([5, 9]))
    message = "received a model without text input, expected a text-conditional model"
    for use in (lambda: write(run, ["a"]), lambda: wrap_text(run, "a"), lambda: run.generate(1, texts=["a"])):
        with pytest.raises(InputError, match=message):
            use()
