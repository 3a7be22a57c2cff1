"""`coldsnap advise` on real files: what it assumes, what it answers, what it draws, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pulumi_state import RESTORED, coldsnap, deployment, warmup

from service.economics import Hardware, dollars, prices

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_state import Stack

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
TIMES = [BEGAN + timedelta(days=day, seconds=100 * index) for day in range(2) for index in range(10)]
"""Ten requests on each of two days, one after the other: in all gaps a container of a 60 s window ends."""
REQUESTS = len(TIMES)
WITHOUT_A_STACK = ("--restored", "2", "--request-seconds", "3")
"""With the scaling that a stack file has by default, of which the window is 60 s."""


@pytest.fixture
def trace(tmp_path: Path) -> str:
    file = tmp_path / "access.jsonl"
    lines = ({"time": time.isoformat(), "path": "/v1/chat/completions", "status": 200} for time in TIMES)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(file)


def advised(*arguments: str) -> dict[str, Any]:
    answer = coldsnap("advise", "--json", *arguments)
    assert answer.exit_code == 0, answer.output
    return dict(json.loads(answer.stdout))


def refused(*arguments: str) -> str:
    answer = coldsnap("advise", *arguments)
    assert answer.exit_code == 1
    return str(answer.exception)


def test_what_is_spent_now_is_every_second_of_every_container(trace: str) -> None:
    said = advised(trace, *WITHOUT_A_STACK, "--gpu", "L40S")
    seconds = REQUESTS * (2 + 3 + 60)
    assert said["now"]["container_seconds"] == seconds
    assert said["now"]["usd"] == pytest.approx(Hardware("L40S", 0, 0).usd(seconds))
    assert (said["now"]["share_meeting_a_start"], said["now"]["p95_s"]) == (1.0, 5.0)
    assert said["requests"] == REQUESTS
    assert said["prices"] == {"source": prices().source, "seen_on": prices().seen_on.isoformat()}


def test_windows_from_two_seconds_to_twenty_minutes_and_up_to_two_kept_warm_are_tried(trace: str) -> None:
    tried = advised(trace, *WITHOUT_A_STACK)["tried"]
    windows = {one["scaledown_window"] for one in tried}
    assert (min(windows), max(windows)) == (2, 1200)
    assert {(one["scaledown_window"], one["min_containers"]) for one in tried} == {
        (window, kept) for window in windows for kept in (0, 1, 2)
    }
    assert len(tried) == 3 * len(windows)


def test_no_more_are_kept_warm_than_there_may_be(trace: str) -> None:
    tried = advised(trace, *WITHOUT_A_STACK, "--max-containers", "1")["tried"]
    assert {one["min_containers"] for one in tried} == {0, 1}


def test_the_cheapest_that_keeps_the_share_is_the_first_window_that_spans_the_gap(trace: str) -> None:
    """Only the first request of each day meets a start then."""
    cheapest = advised(trace, *WITHOUT_A_STACK, "--target", "0.1")["cheapest"]
    assert (cheapest["scaledown_window"], cheapest["min_containers"]) == (120, 0)
    assert cheapest["share_meeting_a_start"] == 2 / REQUESTS


def test_the_cheapest_that_answers_in_time_may_be_the_shortest_window(trace: str) -> None:
    cheapest = advised(trace, *WITHOUT_A_STACK, "--p95", "5")["cheapest"]
    assert (cheapest["scaledown_window"], cheapest["min_containers"]) == (2, 0)


def test_no_request_meets_a_start_only_if_a_container_is_kept_warm(trace: str) -> None:
    cheapest = advised(trace, *WITHOUT_A_STACK, "--target", "0")["cheapest"]
    assert cheapest["min_containers"] == 1


def test_both_targets_are_kept(trace: str) -> None:
    """A request takes 3 s, which no window makes shorter."""
    assert advised(trace, *WITHOUT_A_STACK, "--target", "1", "--p95", "2.9")["cheapest"] is None
    assert "none of these" in coldsnap("advise", trace, *WITHOUT_A_STACK, "--p95", "2.9").output


def test_a_csv_file_gives_the_same(trace: str, tmp_path: Path) -> None:
    file = tmp_path / "requests.csv"
    file.write_text("model,Timestamp\n" + "".join(f"chat,{time.timestamp()}\n" for time in TIMES))
    assert advised(str(file), *WITHOUT_A_STACK) == advised(trace, *WITHOUT_A_STACK)


def test_the_start_without_a_snapshot_is_compared_if_both_are_known(trace: str) -> None:
    said = advised(trace, *WITHOUT_A_STACK, "--cold", "48")
    assert said["now"]["p95_s"] == 5.0
    assert said["without_snapshot"]["p95_s"] == 51.0
    assert advised(trace, *WITHOUT_A_STACK)["without_snapshot"] is None


def test_a_service_is_replayed_as_the_stack_knows_it(stack: Stack, trace: str) -> None:
    scaling = {"scaledown_window": 30, "min_containers": 1, "max_containers": 2, "buffer_containers": 0}
    hardware = {"gpu": "L40S", "cpu": 4.0, "memory": 16384}
    stack.holds(deployment(backend="modal", scaling=scaling, concurrency=8, **hardware), warmup())

    said = advised(trace)

    assert said["start_s"] == RESTORED["ready_s"]
    assert said["request_s"] == pytest.approx(RESTORED["first_answer_s"] - RESTORED["ready_s"])
    assert said["scaling"] == scaling | {"concurrency": 8}
    assert said["usd_per_hour"] == pytest.approx(Hardware("L40S", 4, 16384).usd(3600))
    assert (said["now"]["scaledown_window"], said["now"]["min_containers"]) == (30, 1)


def test_options_go_before_what_the_stack_knows(stack: Stack, trace: str) -> None:
    stack.holds(deployment(backend="modal", gpu="L40S"), warmup())
    said = advised(trace, "--service", "chat", "--restored", "7", "--gpu", "H100:2", "--concurrency", "1")
    assert (said["start_s"], said["hardware"], said["scaling"]["concurrency"]) == (7, "H100:2", 1)
    assert said["request_s"] == pytest.approx(RESTORED["first_answer_s"] - RESTORED["ready_s"])


def test_a_snapshot_that_failed_restores_nothing(stack: Stack, trace: str) -> None:
    stack.holds(deployment(), warmup(state="failed", failure="the last 3 starts were cold."))
    said = advised(trace)
    assert (said["start_s"], said["without_snapshot"]) == (3.0, None)


def test_containers_of_this_machine_have_no_price(stack: Stack, trace: str) -> None:
    stack.holds(deployment(), warmup())
    assert advised(trace)["now"]["usd"] is None
    said = coldsnap("advise", trace).output
    assert "$" not in said
    assert "no price (--gpu tells the GPU)" in said


def test_spare_containers_are_told_to_be_left_out(stack: Stack, trace: str) -> None:
    scaling = {"scaledown_window": 60, "min_containers": 0, "max_containers": 4, "buffer_containers": 2}
    stack.holds(deployment(scaling=scaling), warmup())
    assert "buffer_containers: 2 is left out" in " ".join(coldsnap("advise", trace).stderr.split())


def test_the_table_says_what_is_assumed_and_what_follows(trace: str) -> None:
    said = coldsnap("advise", trace, *WITHOUT_A_STACK, "--cold", "48", "--gpu", "L40S", "--target", "0.1").output
    cost = dollars(Hardware("L40S", 0, 0).usd(REQUESTS * 65))
    lines = {line.split()[0]: line for line in said.splitlines() if line.split()}
    assert "20 requests in 24.2 h (2026-11-02 09:00:00 UTC to 2026-11-03 09:15:00 UTC)" in said
    assert "a restored start takes 2.0 s, a request 3.0 s, 4 at once in a container" in said
    assert prices().source in said
    assert f"{cost} (scaledown_window 60 s, 0 kept warm); 100.0% of the requests meet a start" in lines["now"]
    assert "95% are answered within 51.0 s" in lines["without"]
    assert "scaledown_window 2 min, 0 kept warm); 10.0% of the requests" in lines["cheapest"]
    assert cost in next(line for line in said.splitlines() if line.split()[:2] == ["60", "s"])


def test_without_a_target_none_is_the_cheapest(trace: str) -> None:
    assert "--target 0.05, or --p95 SECONDS" in coldsnap("advise", trace, *WITHOUT_A_STACK).output
    assert advised(trace, *WITHOUT_A_STACK)["cheapest"] is None


def test_the_picture_has_both_halves_and_marks_now_and_the_cheapest(trace: str, tmp_path: Path) -> None:
    """matplotlib leaves each text as a comment in an SVG."""
    file = tmp_path / "choices.svg"
    answer = coldsnap("advise", trace, *WITHOUT_A_STACK, "--gpu", "L40S", "--target", "0.05", "--chart", str(file))
    assert answer.exit_code == 0, answer.output
    texts = {line.strip()[5:-4] for line in file.read_text().splitlines() if line.strip().startswith("<!-- ")}
    assert {"US dollars", "% of requests that meet a start", "scaledown_window", "2 s", "20 min"} <= texts
    assert {"0 kept warm", "1 kept warm", "2 kept warm", "now", "cheapest"} <= texts


def test_a_picture_that_cannot_be_written_is_refused(trace: str) -> None:
    assert "--chart nowhere/a.png" in refused(trace, *WITHOUT_A_STACK, "--chart", "nowhere/a.png")


def test_a_line_without_a_time_is_refused_with_its_number(trace: str) -> None:
    with open(trace, "a", encoding="utf-8") as file:  # noqa: PTH123 - as a server appends to its log
        file.write('{"path": "/v1/models"}\n')
    assert f"{trace}:{REQUESTS + 1}: no field has the name of a time." in refused(trace, *WITHOUT_A_STACK)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--restored", "2"), "How long does a request take? Give --request-seconds."),
        ((*WITHOUT_A_STACK, "--gpu", "L40"), '"L40" is not a Modal GPU type. Did you mean "L40S"?'),
    ],
)
def test_what_is_missing_or_wrong_is_said(trace: str, options: tuple[str, ...], said: str) -> None:
    assert said in refused(trace, *options)


def test_a_stack_of_several_services_is_asked_which(stack: Stack, trace: str) -> None:
    stack.holds(deployment("chat"), warmup("chat"), deployment("talk"), warmup("talk"))
    assert refused(trace) == "Which service? Give --service: chat, talk."
    assert advised(trace, "--service", "talk")["requests"] == REQUESTS


def test_a_service_that_is_not_there_is_refused(stack: Stack, trace: str) -> None:
    stack.holds(deployment())
    assert refused(trace, "--service", "nobody").startswith("No service nobody is deployed in this stack.")


def test_whoever_has_no_stack_is_told_how_to_do_without_one(stack: Stack, trace: str) -> None:
    del stack
    said = refused(trace, "--stack", "nowhere")
    assert said.startswith("Pulumi does not know the stack")
    assert said.endswith("With --restored or --cold, and --request-seconds, no stack is needed.")


def test_a_service_that_was_never_measured_is_refused(stack: Stack, trace: str) -> None:
    stack.holds(deployment())
    assert refused(trace).startswith("No start is measured yet")
