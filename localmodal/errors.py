"""What goes wrong in words: for the client when something is not there, for a person when the daemon cannot run."""

from pathlib import Path

from grpclib import GRPCError, Status


class DaemonError(Exception):
    """The daemon cannot run: why, and what to do."""


class DiskFullError(GRPCError):
    """The disk had no room for a change, and nothing was changed.

    Under this status a container sends its results again until there is room. Other clients give up at once.
    """

    def __init__(self, folder: Path) -> None:
        text = f"Nothing was changed: the disk that holds {folder} is full. Make room there, then try again."
        super().__init__(Status.RESOURCE_EXHAUSTED, text)

    def __str__(self) -> str:
        return str(self.message)


def not_found(what: str, name: str, hint: str = "") -> GRPCError:
    """NOT_FOUND in the client's own words: it shows the message to the user as it is."""
    return GRPCError(Status.NOT_FOUND, f"{what} '{name}' not found.{' ' + hint if hint else ''}")
