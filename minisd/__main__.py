"""`python -m minisd`, and the `minisd` command: `cli.main`, with Ctrl-C heard from the first moment on."""

import os
import sys


def main() -> int:
    """Run the command line; returns its exit code."""
    try:
        import signal  # here, because a Ctrl-C may come while they are imported

        from .cli import main as run

        code = run()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: one that comes now just ends the program
    except KeyboardInterrupt:
        print("minisd: stopped; nothing was written", file=sys.stderr, flush=True)
        code = 130
    if code > 128:
        # At a regular exit Python ends itself by SIGINT if, anywhere, C code was interrupted while it ran
        # Python code; then the exit code would be lost. All files are closed and all is printed.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
