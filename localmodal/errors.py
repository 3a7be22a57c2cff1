"""What the client is told when something is not there."""

from grpclib import GRPCError, Status


def not_found(what: str, name: str, hint: str = "") -> GRPCError:
    """NOT_FOUND in the client's own words: it shows the message to the user as it is."""
    return GRPCError(Status.NOT_FOUND, f"{what} '{name}' not found.{' ' + hint if hint else ''}")
