"""Shell completion: the scripts contain all commands and options, and complete lines in bash, zsh and fish."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from mdnrnn.cli import COMMANDS, main
from mdnrnn.cli.benchmark import BENCHMARKS
from mdnrnn.cli.completion import list_commands
from mdnrnn.cli.completion_scripts import completion_script
from mdnrnn.cli.data import SUBCOMMANDS
from mdnrnn.data.catalog import CATALOG
from mdnrnn.errors import InputError
from mdnrnn.runs.bundled import bundled_runs
from mdnrnn.runs.presets import PRESETS
from mdnrnn.tasks.toy_settings import DEMOS

pty = pytest.importorskip("pty")  # not on Windows
SHELLS = ("bash", "zsh", "fish")
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PREPARE = {
    "bash": "bind 'set bell-style none'; mdnrnn() { printf '<%s>' \"$@\"; echo DONE; }; source {script}",
    "zsh": "autoload -U compinit; compinit -u -D; mdnrnn() { printf '<%s>' \"$@\"; echo DONE; }; source {script}",
}


def require(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")


@pytest.fixture
def script(shell: str, tmp_path: Path) -> Path:
    """Return a script for the shell, alone in a folder."""
    path = tmp_path / f"script.{shell}"
    path.write_text(write_script(shell), encoding="utf-8")
    return path


@cache
def write_script(shell: str) -> str:
    return completion_script(shell)


def type_line(shell: str, script: Path, line: str) -> str:
    """Type a line with tabs in an interactive shell, and return the arguments that the command receives, as <a><b>."""
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "vt100", "PS1": "$ ", "HOME": str(script.parent)}
    process = subprocess.Popen(
        START[shell], stdin=terminal, stdout=terminal, stderr=terminal, cwd=script.parent, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    os.write(master, f"{PREPARE[shell].replace('{script}', str(script))}\n{line}\nexit\n".encode())
    output = b""
    with suppress(OSError):  # raised when the shell has closed the terminal
        while chunk := os.read(master, 4096):
            output += chunk
    process.wait()
    os.close(master)
    lines = output.decode(errors="replace").replace("/>", ">").splitlines()  # only zsh removes a slash at the end
    return next((each.removesuffix("DONE") for each in reversed(lines) if each.endswith("DONE")), "\n".join(lines))


def list_candidates(shell: str, script: Path, line: str) -> set[str]:
    """Return the completions of the last word of a line in bash or fish."""
    if shell == "fish":
        code = ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]
    else:
        words = line.replace("=", " = ").split(" ")
        code = ["bash", "-c", f"source {script}; COMP_WORDS=({' '.join(w or repr('') for w in words)})\n"]
        code[-1] += f"COMP_CWORD={len(words) - 1}; _mdnrnn; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(code, capture_output=True, text=True, check=True, cwd=script.parent)
    assert done.stderr == ""
    return {each.split("\t")[0] for each in done.stdout.splitlines()} - {""}


def test_all_commands_and_their_options_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The options of a command are those of its help."""
    commands = list_commands()
    groups: dict[str, Iterable[str]] = {
        "train": PRESETS,
        "data": SUBCOMMANDS,
        "benchmark": [*BENCHMARKS, "table"],
        "demo": [*DEMOS, "all"],
    }
    assert set(commands) == {"", *COMMANDS, *(f"{name} {each}" for name, group in groups.items() for each in group)}
    for name, command in commands.items():
        if name and not command.subcommands:
            assert main([*name.split(), "--help"]) == 0
            beginnings = re.findall(r"^[│ ] (--?[a-z].*?)(?:  |│|$)", capsys.readouterr().out, re.MULTILINE)
            in_help = {word for each in beginnings for word in each.replace(",", " ").split() if word.startswith("-")}
            assert {spelling for option in command.options for spelling in option.names} == in_help


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_printed_and_has_no_syntax_error(
    shell: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--print-completion", shell]) == 0
    assert capsys.readouterr().out == script.read_text(encoding="utf-8")
    require(shell)
    subprocess.run([shell, "-n", script], check=True)


def test_unknown_shell_is_an_error() -> None:
    with pytest.raises(InputError, match="received 'tcsh', expected one of bash, zsh, fish"):
        completion_script("tcsh")


LINES = {
    "mdnrnn gen\t": "<generate>",
    "mdnrnn data dr\t": "<data><draw>",
    "mdnrnn train stroke-s\t": "<train><stroke-small>",
    "mdnrnn train world --model.hid\t 4": "<train><world><--model.hidden><4>",
    "mdnrnn train --res\t": "<train><--resume>",
    "mdnrnn train --fr\t kanj\t --le\t": "<train><--from><kanji><--learning-rate>",
    "mdnrnn info kanj\t": "<info><kanji>",
    "mdnrnn info my\t": "<info><my run>",
    "mdnrnn generate doodles --color str\t": "<generate><doodles><--color><stroke>",
    "mdnrnn generate doodles --color=str\t": "<generate><doodles><--color=stroke>",
    "mdnrnn generate --device cp\t doo\t --ou\t": "<generate><--device><cpu><doodles><--out>",
    "mdnrnn data get quickdraw-r\tcat": "<data><get><quickdraw-raw/cat>",
    "mdnrnn train stroke --data omni\t": "<train><stroke><--data><omniglot>",
}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("line", "arguments"), LINES.items(), ids=[line.replace("\t", "^") for line in LINES])
def test_tab_completes_a_word(shell: str, script: Path, line: str, arguments: str) -> None:
    require(shell)
    (script.parent / "my run").mkdir(exist_ok=True)
    assert type_line(shell, script, line) == arguments


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_candidates(shell: str, script: Path) -> None:
    require(shell)
    (script.parent / "kangaroo.npz").touch()
    assert list_candidates(shell, script, "mdnrnn ") >= set(COMMANDS)
    assert list_candidates(shell, script, "mdnrnn train ") >= set(PRESETS)
    assert list_candidates(shell, script, "mdnrnn info ") >= set(bundled_runs())
    assert list_candidates(shell, script, "mdnrnn train --from ") >= set(bundled_runs())
    assert list_candidates(shell, script, "mdnrnn train stroke --from doo") == {"doodles"}
    assert list_candidates(shell, script, "mdnrnn data info kan") == {"kanji", "kanjivg", "kangaroo.npz"}
    assert list_candidates(shell, script, "mdnrnn data get kan") == {"kanji", "kanjivg"}
    assert list_candidates(shell, script, "mdnrnn data get ") >= {name.removesuffix("CATEGORY") for name in CATALOG}
    assert list_candidates(shell, script, "mdnrnn evaluate doodles --split ") == {"train", "valid", "test"}
    assert list_candidates(shell, script, "mdnrnn generate doodles --temp") == {"--temperature"}
    assert list_candidates(shell, script, "mdnrnn train sketch --model.kl") >= {"--model.kl-weight", "--model.kl-rate"}
    assert list_candidates(shell, script, "mdnrnn generate doodles --seed ") == set()
