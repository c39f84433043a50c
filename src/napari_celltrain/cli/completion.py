"""``celltrain completion``: so that the shell knows commands and options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUMMARY = "Print a script that teaches a shell to complete celltrain's commands and options."
EXAMPLES = """\
examples:
  celltrain completion bash >> ~/.bashrc
  celltrain completion zsh >> ~/.zshrc
  celltrain completion fish > ~/.config/fish/completions/celltrain.fish
"""

_BASH = """\
_celltrain() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version"
    elif [[ "$word" == -* ]]; then
        case "$command" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ "$COMP_CWORD" -gt 1 ] && [ -z "$words" ] && COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _celltrain celltrain
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    options = dict(_options())
    if arguments.shell == "fish":
        print(_fish(options), end="")
        return 0
    cases = "\n".join(
        f'            {name}) words="{" ".join(words)}" ;;' for name, words in options.items()
    )
    script = _BASH.format(commands=" ".join(options), cases=cases)
    if arguments.shell == "zsh":
        script = f"autoload -U +X bashcompinit && bashcompinit\n{script}"
    print(script, end="")
    return 0


def _options() -> Iterator[tuple[str, list[str]]]:
    """Return each command with its long options."""
    from napari_celltrain.cli.parser import make_parser

    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                words = [w for one in command._actions for w in one.option_strings]
                yield name, [word for word in words if word.startswith("--")]


def _fish(options: dict[str, list[str]]) -> str:
    first = "__fish_use_subcommand"
    lines = [f"complete -c celltrain -n {first} -f -a '{' '.join(options)}'"]
    for name, words in options.items():
        when = f"'__fish_seen_subcommand_from {name}'"
        lines += [f"complete -c celltrain -n {when} -l {word[2:]}" for word in words]
    return "\n".join(lines) + "\n"
