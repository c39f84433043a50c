"""``celltrain completion``: so that the shell knows commands, options and their values."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUMMARY = "Print a script that teaches a shell to complete celltrain's commands and options."
EXAMPLES = """\
examples:
  celltrain completion bash >> ~/.bashrc
  celltrain completion zsh >> ~/.zshrc
  celltrain completion fish > ~/.config/fish/completions/celltrain.fish

It works in the next terminal that you open: press Tab after 'celltrain train --'.
"""

# What is left empty, bash completes by itself as the name of a file (-o default).
_BASH = """\
_celltrain() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local command="${{COMP_WORDS[1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version"
    else
        case "$command $before" in
{values}
            *)
                if [[ "$word" == -* ]]; then
                    case "$command" in
{options}
                    esac
                fi ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _celltrain celltrain
"""

# bash's way of telling completions is understood once zsh's own is there
_ZSH = """\
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i; }}
autoload -Uz bashcompinit && bashcompinit
{bash}"""


@dataclass(frozen=True)
class _Option:
    """A long option, or a positional argument with a choice of values (its name is empty)."""

    name: str
    about: str
    values: tuple[str, ...]
    takes_value: bool


@dataclass(frozen=True)
class _Command:
    name: str
    about: str
    options: tuple[_Option, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell that you use")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    commands = tuple(_commands())
    match arguments.shell:
        case "fish":
            print(_fish(commands), end="")
        case "zsh":
            print(_ZSH.format(bash=_bash(commands)), end="")
        case _:
            print(_bash(commands), end="")
    return 0


def _commands() -> Iterator[_Command]:
    """Return each command with its options, as the parser knows them."""
    from napari_celltrain.cli.parser import make_parser

    for action in make_parser()._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for name, parser in action.choices.items():
            yield _Command(name, parser.description or "", tuple(_options(parser)))


def _options(parser: argparse.ArgumentParser) -> Iterator[_Option]:
    for action in parser._actions:
        # a range of numbers is a choice too, but nothing to be offered
        named = not isinstance(action.choices, range)
        values = tuple(str(one) for one in action.choices or ()) if named else ()
        about = ((action.help or "") % {**vars(action), "prog": parser.prog}).partition(";")[0]
        for word in action.option_strings:
            if word.startswith("--"):
                yield _Option(word, about, values, action.nargs != 0)
        if not action.option_strings and values:
            yield _Option("", about, values, True)


def _bash(commands: tuple[_Command, ...]) -> str:
    values = [
        f'            "{command.name} {option.name or command.name}") '
        f'words="{" ".join(option.values)}" ;;'
        for command in commands
        for option in command.options
        if option.values
    ]
    options = [
        f'                        {command.name}) words="'
        f'{" ".join(option.name for option in command.options if option.name)}" ;;'
        for command in commands
    ]
    return _BASH.format(
        commands=" ".join(command.name for command in commands),
        values="\n".join(values),
        options="\n".join(options),
    )


def _fish(commands: tuple[_Command, ...]) -> str:
    lines = ["complete -c celltrain -n __fish_use_subcommand -f -l help -d 'Explain it'",
             "complete -c celltrain -n __fish_use_subcommand -f -l version"]  # fmt: skip
    for command in commands:
        about = _quoted(command.about.removesuffix("."))
        lines.append(f"complete -c celltrain -n __fish_use_subcommand -f -a {command.name} "
                     f"-d {about}")  # fmt: skip
        when = f"-n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            line = f"complete -c celltrain {when}"
            if option.values:
                line += f" {'-x' if option.name else '-f'} -a '{' '.join(option.values)}'"
            elif option.takes_value:
                line += " -r"
            if option.name:
                line += f" -l {option.name[2:]}"
            lines.append(f"{line} -d {_quoted(option.about)}" if option.about else line)
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text as fish takes it literally."""
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
