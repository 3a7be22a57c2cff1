"""What could not be done, in words that a user reads as they are."""


class Failure(Exception):  # noqa: N818 - it names what happened to the service, not a bug of ours
    """An operation ended without its result; the message says what, where, what was got and what to do next."""

    __module__ = "builtins"  # Pulumi shows the exception's full name before its message
