"""Scripts that complete the command line of mdnrnn in bash, zsh and fish.

A script contains all names, so that completion does not start Python. Commands with equal contents, such as the presets
of one model class, share one branch of the script.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

from mdnrnn.cli.completion import Command, Option, Values, list_commands
from mdnrnn.errors import InputError
from mdnrnn.version import VERSION

_BASH = """\
# bash completion for mdnrnn {version}
_mdnrnn() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command="" match words="" files=""
  # bash splits --option=value at the equals sign.
  if [[ $current == "=" ]]; then
    current=""
  elif [[ $previous == "=" ]]; then
    previous=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  (( COMP_CWORD > 1 )) && command=${{COMP_WORDS[1]}}
  case $command in
    {groups}) if (( COMP_CWORD > 2 )) && [[ ${{COMP_WORDS[2]}} != -* ]]; then command+=" ${{COMP_WORDS[2]}}"; fi ;;
  esac
  case $command in
{cases}
  esac
  COMPREPLY=()
  while IFS= read -r match; do
    COMPREPLY+=("$match")
  done < <(compgen -W "$words" -- "$current"; [[ $files ]] && compgen -f -- "$current")
  if [[ $files ]]; then compopt -o filenames 2>/dev/null; fi
  if [[ ${{COMPREPLY[0]}} == */ ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -F _mdnrnn mdnrnn
"""

_ZSH = """\
#compdef mdnrnn
# zsh completion for mdnrnn {version}
_mdnrnn_values() {{
  local files=$1
  shift
  compadd -- "${{(@)@:#*/}}"
  compadd -S "" -- "${{(@M)@:#*/}}"
  if (( files )); then _files; fi
}}
_mdnrnn() {{
  local -a subcommands
  local command=""
  if (( CURRENT > 2 )); then
    command=$words[2]
    shift words
    (( CURRENT-- ))
  fi
  case $command in
    {groups}) if (( CURRENT > 2 )) && [[ $words[2] != -* ]]; then
      command+=" $words[2]"
      shift words
      (( CURRENT-- ))
    fi ;;
  esac
  case $command in
{cases}
  esac
}}
if [[ $funcstack[1] == _mdnrnn ]]; then _mdnrnn "$@"; else compdef _mdnrnn mdnrnn; fi
"""

_FISH = """\
# fish completion for mdnrnn {version}
function __mdnrnn_is
  set -l words (commandline -opc)
  set -l command "$words[2]"
  if contains -- "$command" {groups}; and set -q words[3]; and not string match -q -- "-*" $words[3]
    set command "$command $words[3]"
  end
  contains -- "$command" $argv
end
complete -c mdnrnn -f
{cases}
"""


def completion_script(shell: str) -> str:
    """Return a script that completes the command line of mdnrnn.

    Args:
        shell: "bash", "zsh" or "fish".

    Raises:
        InputError: the shell is unknown.
    """
    if shell not in _WRITERS:
        received = repr(shell) if shell else "no shell"
        raise InputError(f"--print-completion: received {received}, expected one of {', '.join(_WRITERS)}")
    template, write_case, separator = _WRITERS[shell]
    commands = list_commands()
    names: dict[Command, list[str]] = {}
    for name, command in commands.items():
        names.setdefault(command, []).append(name)
    groups = separator.join(name for name, command in commands.items() if name and command.subcommands)
    cases = "\n".join(write_case(each, command) for command, each in names.items())
    return template.format(version=VERSION, groups=groups, cases=cases)


def _bash_case(names: list[str], command: Command) -> str:
    by_values: dict[Values, list[str]] = {}
    for option in command.options:
        if option.values is not None:
            by_values.setdefault(option.values, []).extend(option.names)
    options = " ".join(name for option in command.options for name in option.names)
    if command.subcommands:
        options = " ".join([*(name for name, _ in command.subcommands), options])
    lines = [f"      {'|'.join(each)}) {_bash_values(values)};;" for values, each in by_values.items()]
    if command.arguments is not None:
        lines.append(f'      *) if [[ $current == -* ]]; then words="{options}"; else')
        lines.append(f"        {_bash_values(command.arguments)}; fi ;;")
    else:
        lines.append(f'      *) words="{options}" ;;')
    return "\n".join([f"    {'|'.join(map(shlex.quote, names))}) case $previous in", *lines, "    esac ;;"])


def _bash_values(values: Values) -> str:
    return f'words="{" ".join(values.words)}"{" files=1" if values.files else ""} '.strip()


def _zsh_case(names: list[str], command: Command) -> str:
    specifications = [_zsh_option(option) for option in command.options]
    if command.arguments is not None:
        specifications.append(shlex.quote(f"*:argument:{_zsh_action(command.arguments)}"))
    lines = [f"    {'|'.join(map(shlex.quote, names))})"]
    if command.subcommands:
        entries = " ".join(shlex.quote(f"{name}:{description}") for name, description in command.subcommands)
        lines += ["      if (( CURRENT == 2 )) && [[ $PREFIX != -* ]]; then", f"        subcommands=({entries})"]
        lines += ["        _describe subcommand subcommands", "        return", "      fi"]
    return "\n".join(
        [*lines, "      _arguments \\", " \\\n".join(f"        {each}" for each in specifications), "      ;;"]
    )


def _zsh_option(option: Option) -> str:
    """Return the arguments of `_arguments` for one option, one per spelling, each of which excludes all spellings."""
    description = option.description.replace("[", r"\[").replace("]", r"\]")
    action = "" if option.values is None else f":value:{_zsh_action(option.values)}"
    suffixes = ["=" if option.values is not None and name.startswith("--") else "" for name in option.names]
    return " ".join(
        shlex.quote(f"({' '.join(option.names)}){name}{suffix}[{description}]{action}")
        for name, suffix in zip(option.names, suffixes, strict=True)
    )


def _zsh_action(values: Values) -> str:
    """Return an action that starts with a space, so that `_arguments` calls the function without more arguments."""
    if not values.words:
        return "_files" if values.files else ""
    return f" _mdnrnn_values {int(values.files)} {' '.join(values.words)}"


def _fish_case(names: list[str], command: Command) -> str:
    condition = f"complete -c mdnrnn -n {_fish_quote('__mdnrnn_is ' + ' '.join(map(_fish_quote, names)))}"
    lines = [f"{condition} -a {name} -d {_fish_quote(text)}" for name, text in command.subcommands]
    lines += [f"{condition} {_fish_option(option)} -d {_fish_quote(option.description)}" for option in command.options]
    if command.arguments is not None:
        lines.append(f"{condition} {_fish_values(command.arguments)}")
    return "\n".join(lines)


def _fish_option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    return names if option.values is None else f"{names} -r {_fish_values(option.values)}"


def _fish_values(values: Values) -> str:
    files = "-F" if values.files else "-f"
    return f"{files} -a {_fish_quote(' '.join(values.words))}" if values.words else files


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"


_WRITERS: dict[str, tuple[str, Callable[[list[str], Command], str], str]] = {
    "bash": (_BASH, _bash_case, "|"),
    "zsh": (_ZSH, _zsh_case, "|"),
    "fish": (_FISH, _fish_case, " "),
}
"""By shell: the script, the function that writes one branch, and the separator of alternatives."""
