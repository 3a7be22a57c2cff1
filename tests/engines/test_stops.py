from engines.stops import StopScanner


def shown(scanner, *tokens):
    return [scanner.feed(token.encode() if isinstance(token, str) else token) for token in tokens]


def test_text_is_shown_as_it_comes():
    assert shown(StopScanner(()), "Hello", ", ", "world") == ["Hello", ", ", "world"]


def test_a_letter_of_two_tokens_is_shown_once_it_is_whole():
    first, second = "ä".encode()[:1], "ä".encode()[1:]
    assert shown(StopScanner(()), first, second) == ["", "ä"]


def test_half_a_letter_at_the_end_is_shown_as_a_replacement():
    scanner = StopScanner(())
    scanner.feed("ä".encode()[:1])
    assert scanner.rest() == "\ufffd"


def test_nothing_is_shown_from_the_stop_sequence_on():
    scanner = StopScanner(("END",))
    assert "".join(shown(scanner, "one ", "EN", "D two")) == "one "
    assert scanner.stopped


def test_what_may_become_a_stop_sequence_is_held_back_until_it_does_not():
    scanner = StopScanner(("END",))
    assert shown(scanner, "an E", "N", "O") == ["an ", "", "ENO"]
    assert not scanner.stopped


def test_what_was_held_back_is_shown_when_nothing_more_comes():
    scanner = StopScanner(("END",))
    scanner.feed(b"an EN")
    assert scanner.rest() == "EN"


def test_the_first_of_several_stop_sequences_wins():
    scanner = StopScanner(("two", "one"))
    assert shown(scanner, "zero one two") == ["zero "]


def test_a_stop_sequence_that_overlaps_itself_is_found():
    scanner = StopScanner(("aab",))
    assert "".join(shown(scanner, "a", "a", "a", "b")) == "a"
    assert scanner.stopped


def test_the_space_before_the_first_word_is_dropped_where_it_belongs_to_the_prompt():
    assert shown(StopScanner((), trim=True), " ", " The", " end") == ["", "The", " end"]
