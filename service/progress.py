"""What an operation says while it works."""

from typing import Protocol


class Progress(Protocol):
    """Shown to the user while the operation runs."""

    def status(self, text: str) -> None:
        """What is going on right now; the next one takes its place."""

    def warn(self, text: str) -> None:
        """Something that the user should know afterwards too."""
