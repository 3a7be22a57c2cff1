"""What containers cost, and how that is said."""

from datetime import UTC, date, datetime
from urllib.parse import urlsplit

import pytest
from pulumi.output import Unknown

from service.economics import (
    Hardware,
    Measured,
    dollars,
    idle_in_words,
    measured_price,
    prices,
    snapshot_in_words,
    standing_price,
)
from spec.gpu import GPU_TYPES

L40S = Hardware("L40S", cores=0, mib=0)
MEASURED = Measured(cold_s=48.0, restored_s=2.0, snapshot_s=90.4)


def least_usd_per_second() -> float:
    known = prices()
    return known.core_second * known.least_cores + known.gib_second * known.least_mib / 1024


def test_every_gpu_that_a_service_may_ask_for_has_a_price() -> None:
    assert set(GPU_TYPES) <= set(prices().gpu_second)


def test_a_price_is_of_a_day_and_of_a_page() -> None:
    assert date(2026, 1, 1) < prices().seen_on <= datetime.now(UTC).date()
    assert urlsplit(prices().source).hostname == "modal.com"


@pytest.mark.parametrize("type_", sorted(prices().gpu_second))
def test_an_hour_of_a_gpu_costs_between_ten_cents_and_twenty_dollars(type_: str) -> None:
    """A digit too few or too many in the file."""
    assert 0.1 < prices().gpu_second[type_] * 3600 < 20


def test_a_container_costs_its_gpu_and_the_least_of_cpu_and_memory_if_it_asks_for_nothing() -> None:
    assert L40S.usd_per_second == pytest.approx(prices().gpu_second["L40S"] + least_usd_per_second())


def test_two_gpus_cost_twice() -> None:
    pair = Hardware("L40S:2", cores=0, mib=0)
    assert pair.usd_per_second - L40S.usd_per_second == pytest.approx(prices().gpu_second["L40S"])


def test_what_is_asked_for_is_paid_in_place_of_the_least() -> None:
    asked = Hardware.of({"gpu": "none", "cpu": 4, "memory": 8192})
    assert asked is not None
    assert asked.usd_per_second == pytest.approx(4 * prices().core_second + 8 * prices().gib_second)


def test_less_than_the_least_is_paid_as_the_least() -> None:
    assert Hardware(None, cores=0.01, mib=1).usd_per_second == pytest.approx(least_usd_per_second())


def test_of_several_types_the_first_is_the_price() -> None:
    assert Hardware.of({"gpu": ["H100", "A100-80GB"]}) == Hardware("H100", 0, 0)


@pytest.mark.parametrize("name", ["gpu", "cpu", "memory"])
def test_there_is_no_price_while_a_preview_does_not_know_the_hardware(name: str) -> None:
    assert Hardware.of({"gpu": "L40S", name: Unknown()}) is None


def test_a_minute_is_sixty_seconds() -> None:
    assert L40S.usd_per_idle_minute == pytest.approx(L40S.usd(60)) == pytest.approx(60 * L40S.usd_per_second)


def test_a_snapshot_is_priced_by_the_seconds_of_the_last_one() -> None:
    assert snapshot_in_words(L40S, MEASURED) == f"about 90 s of L40S = {dollars(L40S.usd(90.4))}"


def test_a_snapshot_that_was_never_made_says_so_and_what_a_minute_costs() -> None:
    said = snapshot_in_words(L40S, Measured.of({}))
    assert said == f"the snapshot's seconds are not measured yet, a minute of L40S = {dollars(L40S.usd(60))}"


def test_idle_time_is_priced_by_the_minute() -> None:
    pair = Hardware("H100:2", 0, 0)
    assert idle_in_words(pair) == f"an idle minute of H100:2 = {dollars(pair.usd(60))}"


def test_outputs_price_what_is_measured_and_nothing_else() -> None:
    warmup = {"cold": {"ready_s": 48.0}, "restored": None, "container_seconds": 90.4}
    priced = measured_price(L40S, Measured.of(warmup))
    assert priced["cold_start"] == pytest.approx(48 * L40S.usd_per_second, abs=1e-6)
    assert priced["snapshot"] == pytest.approx(90.4 * L40S.usd_per_second, abs=1e-6)
    assert priced["restored_start"] is None


def test_outputs_say_what_waiting_costs_before_anything_is_measured() -> None:
    priced = standing_price(L40S)
    assert priced["idle_minute"] == pytest.approx(L40S.usd(60), abs=1e-6)
    assert (priced["hardware"], priced["seen_on"]) == ("L40S", prices().seen_on.isoformat())


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "$0.00"),
        (12.3, "$12.30"),
        (0.049, "$0.05"),
        (0.0099, "$0.0099"),
        (0.00123, "$0.0012"),
        (2e-06, "$0.0000020"),
    ],
)
def test_small_amounts_keep_the_digits_that_count(amount: float, said: str) -> None:
    assert dollars(amount) == said
