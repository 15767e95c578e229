"""README, guides and cards: code blocks run from top to bottom on tiny budgets, links resolve, commands parse."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import tyro

from mdnrnn import cli
from mdnrnn.data import catalog
from mdnrnn.data.corpus import Corpus, pack
from mdnrnn.data.formats import FORMATS, WRITERS, native
from mdnrnn.data.synthetic.corpora import make_doodles, make_pen_text
from mdnrnn.runs import train as runs_train
from mdnrnn.runs.presets import KINDS, PRESETS
from mdnrnn.tasks import toy_demos
from mdnrnn.training import trainer
from mdnrnn.training.config import TrainConfig
from tests.data.formats.samples import IAM_LINE
from tests.export.helpers import needs_export
from tests.helpers import make_touches, shorten

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for pattern in ("*.md", "examples/*.md", "checkpoints/**/*.md", "datasets/*.md", ".github/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
GUIDES = [path for path in PAGES if path.parent == ROOT / "examples" or path == ROOT / "README.md"]
TRAINING_STEPS = 2
BUDGETS = {"--importance": "2", "--workers": "1", "-n": "2"}
"""Values of options that replace those of the guides."""
CODE_BUDGETS = {"range(1000)": "range(20)", "range(200)": "range(40)", "n=256": "n=4"}
"""Pieces of Python code that replace those of the guides."""
MANUAL = ("python -m pip", "pytest", "torchrun", ".ci/run", "ruff", "pre-commit", "git")
"""Beginnings of shell commands that the tests do not run."""


class Block(NamedTuple):
    """A fenced code block: language, code and the line of the page where the code starts."""

    language: str
    code: str
    line: int


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    matches = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in matches]


def shell_commands(code: str) -> list[list[str]]:
    """Return the commands of a shell block as arguments; comments are removed, and && separates commands."""
    lines = code.replace("\\\n", " ").splitlines()
    commands = [part for line in lines for part in shlex.join(shlex.split(line, comments=True)).split(" '&&' ")]
    return [shlex.split(command) for command in commands if command and not command.startswith(MANUAL)]


def replace_budgets(arguments: list[str]) -> list[str]:
    values = [BUDGETS.get(previous, value) for previous, value in pairwise(["", *arguments])]
    return ["sine" if arguments[:2] == ["demo", "all"] and value == "all" else value for value in values]


def save_lines(folder: Path) -> Corpus:
    """Return 40 lines of pen-text per split, and save line 0 of the train split as `mine.svg`."""
    corpus = shorten(make_pen_text(40, {"train": 1, "valid": 1, "test": 1}, seed=0), 90)
    first = corpus[0]
    line = pack(replace(corpus.metadata, classes=()), {"test": [first._replace(text=None, writer=None)]})
    WRITERS["svg"](line, folder / "line")
    next((folder / "line").rglob("*.svg")).rename(folder / "mine.svg")
    return corpus


def save_iam(folder: Path) -> None:
    """Write four forms of one line each in the folders of IAM-OnDB, and the lists of the published splits."""
    names = ("trainset", "testset_v", "testset_t", "testset_f")
    forms = {f"{name}.txt": f"a01-00{i}u" for i, name in enumerate(names)}
    for name, form in forms.items():
        (folder / name).write_text(f"{form}\n")
        strokes, transcripts = (folder / kind / "a01" / form[:-1] for kind in ("lineStrokes", "ascii"))
        strokes.mkdir(parents=True)
        transcripts.mkdir(parents=True)
        (strokes / f"{form}-01.xml").write_bytes(IAM_LINE)
        (transcripts / f"{form}.txt").write_text("OCR:\n\nA MOVE\n\nCSR:\n\nA MOVE\n")


def tile(corpus: Corpus, n: int) -> Corpus:
    """Return a corpus of `n` sequences without classes, which repeats those of a corpus; 50 are valid and 50 test."""
    sequences = [corpus[i]._replace(label=None) for i in range(len(corpus))]
    repeated = (sequences * (n // len(sequences) + 1))[:n]
    splits = {"train": repeated[:-100], "valid": repeated[-100:-50], "test": repeated[-50:]}
    return pack(replace(corpus.metadata, classes=()), splits)


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that guides read, and with small corpora in place of the downloads."""
    folder = tmp_path_factory.mktemp("materials")
    doodles = make_doodles(per_class=20, seed=3)
    WRITERS["svg"](doodles, folder / "drawings")
    save_iam(folder)
    corpora = {
        "short_kanji": tile(doodles, 10_700),
        "aaron_sheep": tile(doodles, 200),
        "tiny-performances": make_touches(500),
        "pen-text": save_lines(folder),
    }
    for name, corpus in corpora.items():
        native.write(corpus, folder / "cache" / "corpora" / name)
    return folder


@pytest.fixture
def workspace(materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the current folder: it has the files that guides read; training takes `TRAINING_STEPS` steps."""
    shutil.copytree(materials, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDNRNN_CACHE", str(materials / "cache"))
    fit = trainer.fit

    def fit_briefly(
        model: Any, train: Any, valid: Any = None, folder: Any = None, config: Any = None, *rest: Any, **more: Any
    ) -> Any:
        config = config or more.pop("config", None) or TrainConfig()
        config = replace(config, steps=TRAINING_STEPS, minutes=None, validations=1)
        return fit(model, train, valid, folder, config, *rest, **more)

    for module in (trainer, runs_train, toy_demos):
        monkeypatch.setattr(module, "fit", fit_briefly)

    def get(name: str, importer: Any) -> Path:
        entry = catalog.find(name)
        assert entry is not None
        assert entry.path.exists(), f"the fixture `materials` lacks {name}"
        return entry.path

    monkeypatch.setattr(catalog, "get", get)
    with ExitStack() as stack:
        for registry in (FORMATS, WRITERS, PRESETS, KINDS):  # a guide adds a format; remove it afterwards
            stack.enter_context(mock.patch.dict(registry))
        yield tmp_path


@pytest.mark.filterwarnings("default:.*figure.*:RuntimeWarning")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=needs_export) if page.stem == "export" else page for page in GUIDES],
    ids=page_name,
)
def test_blocks_run_from_top_to_bottom(page: Path, workspace: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "guide"}
    for block in read_blocks(page):
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.code  # so that a traceback shows the line of the page
            for text, replacement in CODE_BUDGETS.items():
                code = code.replace(text, replacement)
            exec(compile(code, str(page), "exec"), namespace)
        elif block.language == "sh":
            for command in shell_commands(block.code):
                assert command[0] == "mdnrnn", f"{command}: expected a command of mdnrnn"
                assert cli.main(replace_budgets(command[1:])) == 0, shlex.join(command)
                for option, value in pairwise(command):
                    assert option not in ("--out", "--attention") or (workspace / value).exists()


def headings(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        assert not anchor or anchor in headings(linked), target


class _ParsedError(Exception):
    """Raised in place of running a command whose options are valid."""


def mentioned_commands(page: Path) -> Iterable[list[str]]:
    """Yield the commands of `mdnrnn` in the code blocks and in the inline code of a page."""
    text = page.read_text(encoding="utf-8")
    for block in read_blocks(page):
        if block.language == "sh":
            yield from (command for command in shell_commands(block.code) if command[0] == "mdnrnn")
    for code in re.findall(r"(?<!`)`(mdnrnn [^`]+)`", text):
        yield shlex.split(re.sub(r"\\\n|>.*", " ", code), comments=True)


PLACEHOLDERS = {"PRESET": "stroke", "COMMAND": "generate"}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
@pytest.mark.usefixtures("workspace")
def test_commands_have_valid_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse: Callable[..., Any] = tyro.cli

    def parse_only(*arguments: Any, **settings: Any) -> Any:
        parse(*arguments, **settings)
        raise _ParsedError

    monkeypatch.setattr(tyro, "cli", parse_only)
    for command in mentioned_commands(page):
        arguments = [PLACEHOLDERS.get(argument, argument) for argument in command[1:]]
        if all(argument.isalpha() for argument in arguments):  # the name of a command, without options
            assert arguments[0] in cli.COMMANDS, command
            continue
        if arguments[-1] in ("--help", "--version"):
            assert cli.main(arguments) == 0
            continue
        with pytest.raises(_ParsedError):
            pytest.fail(f"{shlex.join(command)}: exit status {cli.main(arguments)}")


def test_readme_fits_on_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_guide_example_and_preset_is_linked_or_listed() -> None:
    gallery = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    training = (ROOT / "examples" / "training.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").iterdir():
        assert path.name in ("README.md", "pictures") or f"({path.name})" in gallery, path.name
    for name in PRESETS:
        listed = name if name in training else f"`-{name.rpartition('-')[2]}`"
        assert listed in training, name
