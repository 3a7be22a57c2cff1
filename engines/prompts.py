"""What engines of text are asked before anybody asks them."""

FIRST_REQUEST = "Question: What is the capital of France?\nAnswer:"
"""The first request of a measured start; the answer ends with its line."""

FIRST_ANSWER_TOKENS = 16

WARM_UP_TEXT = "The quick brown fox jumps over the lazy dog. "
WARM_UP_ANSWER_TOKENS = 2


def repeated(tokens: list[int], length: int, context: int) -> list[int]:
    """A prompt of so many tokens, or as many as the context has room for beside an answer."""
    return [tokens[index % len(tokens)] for index in range(min(length, context - WARM_UP_ANSWER_TOKENS))]
