"""`minisd completion`: what a shell needs to complete the command's words when one types Tab."""

import argparse
from pathlib import Path
from typing import Any

from .. import console
from .options import Parser

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
HOW = """\
bash:        minisd completion bash > ~/.local/share/bash-completion/completions/minisd
zsh:         minisd completion zsh > ~/.zfunc/_minisd, with ~/.zfunc in your fpath
fish:        minisd completion fish > ~/.config/fish/completions/minisd.fish
tcsh:        minisd completion tcsh >> ~/.cshrc
powershell:  minisd completion powershell >> $PROFILE
"""


def add_parser(commands: Any, whole: Parser) -> None:
    """Add `minisd completion` to the commands of the parser `whole`."""
    parser = commands.add_parser(
        "completion",
        help="complete words with Tab in your shell",
        description="Print a script that lets a shell complete commands, options and file names.",
        epilog=HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that you use")
    parser.set_defaults(run=completion, stopped="nothing was written", whole=whole)


def completion(args: argparse.Namespace, notes: list[str]) -> int:
    """Print the script for a shell."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise ValueError("completion needs shtab, which is not installed: pip install shtab") from None
    if args.shell not in shtab.SUPPORTED_SHELLS:
        raise ValueError(f"this shtab knows no {args.shell}; bring it up to date: pip install -U shtab")
    for parser in every_parser(args.whole):
        for action in parser._actions:
            if action.type is Path or "FILE" in str(action.metavar):
                folder = action.metavar == "FOLDER"
                action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
    console.say(shtab.complete(args.whole, shell=args.shell))
    return 0


def every_parser(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices.values()
    return found
