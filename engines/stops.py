"""Text made of tokens: whole letters only, and nothing of a stop sequence."""

from __future__ import annotations

import codecs


class StopScanner:
    """Joins the bytes of tokens to text, holds back what may become a stop sequence, and ends at the first one."""

    def __init__(self, stop: tuple[str, ...], *, trim: bool = False) -> None:
        self._stop = stop
        self._trim = trim
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self.stopped = False

    def feed(self, token: bytes) -> str:
        """The text that is safe to show after one more token."""
        self._held += self._decode(token)
        if self._trim:
            self._held = self._held.lstrip()
            self._trim = not self._held
        found = [place for place in map(self._held.find, self._stop) if place >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - undecided(self._held, self._stop))

    def rest(self) -> str:
        """What was held back, now that no more comes."""
        self._held += self._decode(b"", True)  # noqa: FBT003 - the decoder's own signature
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text


def undecided(text: str, marks: tuple[str, ...]) -> int:
    """Length of the longest end of the text with which a mark begins."""
    longest = max((len(mark) - 1 for mark in marks), default=0)
    lengths = range(min(longest, len(text)), 0, -1)
    return next((n for n in lengths if any(mark.startswith(text[-n:]) for mark in marks)), 0)
