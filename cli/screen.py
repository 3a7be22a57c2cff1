"""Where the command line writes, and how it writes figures."""

import sys

from rich.console import Console

_FILE_COLUMNS = 240
"""Width where there is no terminal: a table in a file or a log is not folded."""

console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)


def seconds(value: float) -> str:
    """A duration: 0.28 s, 3.1 s, 48.0 s."""
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
