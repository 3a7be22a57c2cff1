"""Where the command line writes, and how it writes figures."""

import sys

from rich.console import Console

_FILE_COLUMNS = 240
"""Width where there is no terminal: a table in a file or a log is not folded."""

console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)


def seconds(value: float) -> str:
    """A duration: 0.28 s, 3.1 s, 48.0 s."""
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"


def duration(value: float) -> str:
    """A longer one, in the largest unit of which it has two: 45 s, 20 min, 3.5 h, 12.0 days."""
    for unit, length, decimals in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if value >= 2 * length:
            return f"{value / length:.{decimals}f} {unit}"
    return f"{value:.0f} s"
