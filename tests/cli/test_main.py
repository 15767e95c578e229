"""Dispatch, help and parsing of the command line, and what it imports."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mdnrnn.cli import COMMANDS, main
from mdnrnn.cli.benchmark import BENCHMARKS
from mdnrnn.cli.data import SUBCOMMANDS
from mdnrnn.cli.options import Json, LineColor, parse
from mdnrnn.errors import InputError
from mdnrnn.version import VERSION
from tests.cli.helpers import assert_refused

Capture = pytest.CaptureFixture[str]
HELP = [
    *([name] for name in COMMANDS),
    *(["data", name] for name in SUBCOMMANDS),
    *(["benchmark", name] for name in (*BENCHMARKS, "table")),
    ["train", "stroke"],
    ["train", "sketch-small"],
    ["demo", "sine"],
    ["demo", "all"],
]


def test_help_lists_all_commands(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: mdnrnn ")
    assert all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_every_command_has_help(command: list[str], capsys: Capture) -> None:
    assert main([*command, "--help"]) == 0
    assert f"usage: mdnrnn {command[0]}" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["data"], ["train"], ["demo"], ["benchmark"]], ids=" ".join)
def test_missing_command_prints_help_on_stderr_with_status_2(command: list[str], capsys: Capture) -> None:
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: mdnrnn ")


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{VERSION}\n"


def test_help_and_catalog_do_not_import_torch_or_matplotlib() -> None:
    """One process runs all commands; the first one that imports either module is reported."""
    commands = [["--version"], ["--help"], *([*command, "--help"] for command in HELP)]
    commands += [["data", "list"], ["data", "info", "doodles"]]
    code = (
        "import json, sys\n"
        "from mdnrnn.cli import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    status = main(arguments)\n"
        "    modules = {'torch', 'matplotlib'} & set(sys.modules)\n"
        "    if status or modules: sys.exit(f'{arguments}: status {status}, imports {modules}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


MISTAKES = {
    "unknown command": ("draw", "command: received 'draw', expected one of quickstart"),
    "unknown preset": ("train nosuch --data doodles --out new", "preset: received 'nosuch', expected one of stroke"),
    "unknown subcommand": ("data show", "subcommand: received 'show', expected one of list"),
    "unknown benchmark": ("benchmark nosuch", "benchmark: received 'nosuch', expected one of all"),
    "unknown demo": ("demo cosine --out x", "demo: received 'cosine', expected one of sine"),
    "unknown option": ("evaluate x --color red", "Unrecognized options: --color, red; see mdnrnn evaluate --help"),
    "surplus argument": ("evaluate x y", "Unrecognized options: y"),
    "missing argument": ("evaluate", "Missing from mdnrnn evaluate: RUN"),
    "missing option": ("train stroke --out new", "Missing from mdnrnn train stroke: --data"),
    "missing value": ("evaluate x --split", "Missing value for argument '--split'"),
    "invalid number": ("train stroke --data doodles --out new --steps many", "Error parsing --steps"),
    "invalid choice": ("generate x --out x.svg --color red", "invalid choice 'red' for argument '--color'"),
    "invalid config": ("train stroke --data doodles --out new --steps 0", "budget: received 0"),
    "invalid nested config": ("train stroke --data doodles --out new --model.hidden 0", "model.hidden: received 0"),
}


@pytest.mark.parametrize(("line", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_reported_in_one_line(
    line: str, message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(line.split(), message, capsys)
    assert not list(tmp_path.iterdir())


def test_mistake_on_a_terminal_is_reported_without_escape_sequences(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["evaluate", "x", "--nosuch"]) == 2
    assert capsys.readouterr().err == "error: Unrecognized options: --nosuch; see mdnrnn evaluate --help\n"


@dataclass(frozen=True, kw_only=True)
class ExampleOptions:
    """Options of a command."""

    color: LineColor = "ink"
    license: str = ""
    """License."""
    json: Json = False


@pytest.mark.parametrize(
    "arguments",
    [
        ["--color", "stroke", "--license", "MIT"],
        ["--colour", "stroke", "--licence", "MIT"],
        ["--colour=stroke", "--licence=MIT"],
    ],
    ids=["American", "British", "British with ="],
)
def test_american_and_british_spellings_are_accepted(arguments: list[str]) -> None:
    assert parse(ExampleOptions, "x", arguments) == ExampleOptions(color="stroke", license="MIT")


def test_parse_returns_defaults_and_raises_for_errors(capsys: Capture) -> None:
    default = ExampleOptions(license="CC0")
    assert parse(ExampleOptions, "x", [], default) == default
    with pytest.raises(InputError, match="see mdnrnn x --help"):
        parse(ExampleOptions, "x", ["--json", "1"])
    with pytest.raises(SystemExit):
        parse(ExampleOptions, "x", ["--help"])
    assert capsys.readouterr().out.startswith("usage: mdnrnn x")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("n: received 0,\n expected 1"), 2, "error: n: received 0, expected 1\n"),
        (PermissionError(13, "Permission denied", "x.svg"), 2, "error: x.svg: Permission denied; check the path\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(143), 143, ""),
    ],
    ids=["input", "file", "Ctrl-C", "SIGTERM"],
)
def test_exceptions_become_a_line_and_an_exit_status(
    error: BaseException, status: int, message: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr("mdnrnn.cli.evaluate.main", fail)
    assert main(["evaluate"]) == status
    assert capsys.readouterr() == ("", message)
