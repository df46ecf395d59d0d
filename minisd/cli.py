"""The `minisd` command: paint pictures from words, train the models that paint them."""

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from . import __version__, console
from .commands import book, check, completion, models, paint, train
from .commands.options import Parser

EXIT_CODES = """\
exit codes:
  0    done
  1    verify or check found something that is not right
  2    bad input, or a machine without the memory, the room or the connection for it
  130  stopped by Ctrl-C
  143  stopped by a signal to end (SIGTERM); 129 if the terminal was closed
"""
BAD_INPUT, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, one of EXIT_CODES.

    What went wrong is told in one line on stderr. Any other exception is a bug and shows its traceback.
    """
    # Before torch is loaded: otherwise OpenMP's threads keep the processor busy while they wait, and on a
    # machine with other work a picture takes ten times as long. Whoever sets it otherwise has it so.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    console.make_streams_safe()
    args = argparse.Namespace(stopped="nothing was written")
    with console.stoppable() as signals:
        try:
            return run(arguments, args)
        except KeyboardInterrupt:
            pass
        except Exception as error:
            # A library that is stopped in the middle may put that into an error of its own.
            if not signals:
                if not console.is_expected(error):
                    raise
                console.tell(f"minisd: error: {console.one_line(error)}")
                return BAD_INPUT
        with contextlib.suppress(KeyboardInterrupt):
            console.tell(f"minisd: stopped; {args.stopped}")
        return console.CRITICAL + signals[0] if signals else INTERRUPTED


def run(arguments: Sequence[str] | None, args: argparse.Namespace) -> int:
    """Read the command line into `args`, and do what it says."""
    parser = build_parser()
    _, unknown = parser.parse_known_args(arguments, args)
    if unknown and args.command != "book":
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.flags = unknown
    check_folder()
    with console.warnings_as_notes() as notes:
        return args.run(args, notes)


def check_folder() -> None:
    """Raise FileNotFoundError in a folder that was removed: neither torch nor Jupyter starts there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise FileNotFoundError("the folder that you are in was removed; change to another") from None


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="minisd",
        description="Stable Diffusion from scratch: paint pictures from words, train the models that "
        "paint them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minisd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    paint.add_parser(commands)
    train.add_parser(commands)
    models.add_parsers(commands)
    book.add_parser(commands)
    check.add_parser(commands)
    completion.add_parser(commands, parser)
    return parser


if __name__ == "__main__":
    import sys

    sys.exit(main())
