"""What goes wrong in words: for the client when something is not there, for a person when the daemon cannot run."""

from grpclib import GRPCError, Status


class DaemonError(Exception):
    """The daemon cannot run: why, and what to do."""


def not_found(what: str, name: str, hint: str = "") -> GRPCError:
    """NOT_FOUND in the client's own words: it shows the message to the user as it is."""
    return GRPCError(Status.NOT_FOUND, f"{what} '{name}' not found.{' ' + hint if hint else ''}")
