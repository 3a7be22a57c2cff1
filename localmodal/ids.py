"""Object ids in the service's form: a prefix and 22 letters or digits (the client's command line checks that)."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """A fresh id such as `ap-3hT...`."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(22))}"


def id_from_digest(prefix: str, digest: bytes) -> str:
    """The id of something named by its content: the same digest, the same id."""
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(22):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return f"{prefix}-{''.join(letters)}"
