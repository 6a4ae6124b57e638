"""How a program ends for whoever started it: bad input, a full disk, Ctrl-C are one line each."""

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 128  # an exit status above it names a signal


@contextmanager
def in_one_line() -> Iterator[None]:
    """End with one line on standard error and status 1, or 130 after Ctrl-C; bugs are traced."""
    write_any_text()
    try:
        yield
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(STOPPED + signal.SIGINT)


def write_any_text() -> None:
    """Let standard output take every text in any locale.

    Files and pipes get UTF-8; a terminal gets escapes for what it cannot show.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
