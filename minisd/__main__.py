"""`python -m minisd`, and the `minisd` command: `cli.main`, with Ctrl-C heard from the first moment on."""

import signal
import sys


def main() -> int:
    """Run the command line; returns its exit code."""
    try:
        from .cli import main as run  # here, because a Ctrl-C may come while it is imported

        code = run()
    except KeyboardInterrupt:
        print("minisd: stopped; nothing was written", file=sys.stderr)
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: one that comes now just ends the program
    return code


if __name__ == "__main__":
    sys.exit(main())
