"""Progress that nobody has to see."""

from rich.console import Console
from rich.markup import escape

from service.progress import Progress


class Quiet(Progress):
    """Short operations: only warnings are shown, on stderr."""

    def status(self, text: str) -> None:
        """Nothing: the answer comes at once."""

    def warn(self, text: str) -> None:
        """On stderr, so that JSON on stdout stays JSON."""
        Console(stderr=True).print(f"[yellow]warning:[/yellow] {escape(text)}")
