"""Which name an app's part answers under: the service's rules, where they cannot be tried on a deployed app quickly."""

import pytest

from localmodal.web.labels import LONGEST, Label, label_for

LONG = "a" * 40


@pytest.mark.parametrize(
    ("parts", "options", "expected"),
    [
        (("My_App", "say.hello"), {}, "my-app-say-hello"),
        (("app", "Class.*", "web"), {}, "app-class-web"),
        (("app", "function"), {"suffix": "dev"}, "app-function-dev"),
        (("app", "function"), {"environment": "staging"}, "staging--app-function"),
        (("app", "function"), {"custom": "Chat_1", "environment": "staging", "suffix": "dev"}, "staging--chat-1-dev"),
        (("a" * 31, "b" * 31), {}, f"{'a' * 31}-{'b' * 31}"),
    ],
)
def test_a_label_says_environment_app_and_function(parts, options, expected):
    assert label_for(*parts, **options) == Label(expected)


@pytest.mark.parametrize("options", [{}, {"suffix": "dev"}, {"environment": "staging"}, {"custom": "b" * 70}])
def test_a_label_too_long_for_a_name_keeps_its_beginning_and_its_end(options):
    label = label_for(LONG, LONG, **options)
    begin = f"{options['environment']}--" if "environment" in options else ""
    assert label.truncated
    assert len(label.text) == LONGEST
    assert label.text.startswith(begin + options.get("custom", LONG)[:20])
    assert label.text.endswith("-dev") is ("suffix" in options)


def test_labels_that_are_cut_at_the_same_place_differ():
    assert label_for(LONG, LONG + "1").text[:50] == label_for(LONG, LONG + "2").text[:50]
    assert label_for(LONG, LONG + "1") != label_for(LONG, LONG + "2")


def test_a_label_is_not_cut_between_its_dash_and_that_of_its_hash():
    assert "--" not in label_for("a" * 54, LONG).text
