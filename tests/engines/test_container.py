import asyncio
import logging
import os
import time

import httpx
import pytest
from serving import deployment
from starlette.responses import PlainTextResponse

import engines.container
from engines.clock import Phases, process_started_at
from engines.container import Container
from engines.cores import usable_cores
from engines.engine import engine_of
from engines.llama_cpp import LlamaCpp


class Notes:
    """An engine that notes what is asked of it."""

    packages = ("starlette",)

    def __init__(self, events, fail_at=None):
        self._events = events
        self._fail_at = fail_at

    def _note(self, event):
        self._events.append(event)
        if event == self._fail_at:
            raise RuntimeError(f"no {event}")

    def load(self):
        self._note("load")

    def warm_up(self):
        self._note("warm_up")

    def release(self):
        self._note("release")

    def resume(self):
        self._note("resume")

    def serve(self):
        self._note("serve")
        return PlainTextResponse("hello")

    def stop(self):
        self._note("stop")

    async def first_answer(self):
        return "Paris"


@pytest.fixture
def written(monkeypatch):
    """The boot records that a container wrote, kept here instead of in the service's Dict."""
    records = []
    monkeypatch.setattr("engines.boots.BootLog._put", lambda _, record: records.append(record))
    monkeypatch.setattr("engines.container.SETTLE_SECONDS", 0.1)
    return records


@pytest.fixture
def start(monkeypatch, written):
    """A container whose engine takes notes; `snapshots` says whether the worker takes them."""

    def begin(*, snapshots=True, role="service", fail_at=None, **rest):
        events = []
        monkeypatch.setenv("MODAL_TASK_ID", "ta-first")
        monkeypatch.setenv("MODAL_ENABLE_SNAP_RESTORE", "1" if snapshots else "")
        monkeypatch.setattr(engines.container, "engine_of", lambda _: Notes(events, fail_at))
        return Container(deployment(**rest).definition, role), events

    return begin


def live(container, events, *, restored_as=None):
    container.prepare()
    if restored_as:
        events.append("snapshot")
        os.environ["MODAL_TASK_ID"] = restored_as
    container.begin()
    container.stop()
    return " ".join(events)


def test_the_phases_come_in_the_documented_order(start):
    container, events = start()
    assert live(container, events, restored_as="ta-second") == "load warm_up release snapshot resume serve stop"


def test_nothing_is_released_where_no_snapshot_is_taken(start):
    assert live(*start(snapshots=False)) == "load warm_up serve stop"
    assert live(*start(snapshot={"enabled": False})) == "load warm_up serve stop"


def test_the_twin_does_only_what_the_first_user_would_have_waited_for(start):
    assert live(*start(role="twin")) == "load serve stop"


def test_a_cold_start_writes_one_record_with_all_its_phases(start, written):
    container, events = start()
    live(container, events)
    (record,) = written
    assert (record.id, record.kind, record.error) == ("ta-first", "cold", None)
    assert list(record.phases) == ["imports", "load", "warm_up", "release", "snapshot", "resume", "serve"]
    assert record.definition == deployment().definition.digest
    assert record.started_at < record.ready_at
    assert set(record.versions) == {"python", "modal", "starlette"}


def test_a_restored_start_writes_a_record_of_its_own_life_only(start, written):
    container, events = start()
    live(container, events, restored_as="ta-second")
    (record,) = written
    assert (record.id, record.kind) == ("ta-second", "restored")
    assert list(record.phases) == ["restore", "resume", "serve"]


def test_a_start_that_fails_writes_its_error_before_it_dies(start, written):
    container, events = start(fail_at="load")
    with pytest.raises(RuntimeError, match="no load"):
        container.prepare()
    (record,) = written
    assert record.error == "RuntimeError: no load"
    assert record.ready_at is None
    assert list(record.phases) == ["imports", "load"]
    assert events == ["load", "stop"]


def test_a_record_that_cannot_be_written_fails_nothing(start, monkeypatch, caplog):
    def refuse(*_):
        raise ConnectionError("no way")

    monkeypatch.setattr("engines.boots.BootLog._put", refuse)
    with caplog.at_level(logging.WARNING):
        assert live(*start(snapshots=False)).endswith("serve stop")
    assert "no way" in caplog.text


async def test_a_measured_start_reports_the_first_answer_and_whether_it_was_the_first(start):
    container, _ = start()
    container.prepare()
    container.begin()
    first, second = await container.start(), await container.start()
    assert (first.answer, first.first, second.first) == ("Paris", True, False)
    assert first.boot.ready_at <= first.taken_at <= first.answered_at
    assert "first_answer" in first.boot.phases
    container.stop()


async def test_the_first_answer_over_http_is_noted_and_health_is_none(start, written):
    container, _ = start()
    container.prepare()
    container.begin()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(container), base_url="http://chat") as client:
        assert (await client.get("/health")).text == "hello"
        assert not container._answered.is_set()
        assert (await client.get("/v1/models")).text == "hello"
    await asyncio.to_thread(container.stop)
    assert "first_answer" in written[0].phases
    assert len(written) == 1


def test_the_processs_start_is_known_to_a_hundredth():
    age = time.time() - process_started_at()
    assert 0 < age < 24 * 3600
    assert abs(process_started_at() - process_started_at()) < 0.1


def test_phases_add_up_in_order_even_if_one_fails():
    phases = Phases()
    with phases("one"):
        pass
    with pytest.raises(ValueError), phases("two"):  # noqa: PT011 - the test's own
        raise ValueError
    assert list(phases.seconds) == ["one", "two"]


def test_the_engine_that_was_declared_is_made():
    assert isinstance(engine_of(deployment().definition), LlamaCpp)


def test_a_quota_of_the_cgroup_limits_the_cores(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr("engines.cores.CGROUP_V2", quota)
    quota.write_text("50000 100000\n")
    assert usable_cores() == 1
    quota.write_text("max 100000\n")
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_an_older_cgroups_quota_limits_the_cores_too(monkeypatch, tmp_path):
    files = tmp_path / "quota", tmp_path / "period"
    monkeypatch.setattr("engines.cores.CGROUP_V2", tmp_path / "none")
    monkeypatch.setattr("engines.cores.CGROUP_V1", files)
    assert usable_cores() == len(os.sched_getaffinity(0))  # no such files: no limit
    for file, text in zip(files, ("100000\n", "100000\n"), strict=True):
        file.write_text(text)
    assert usable_cores() == 1


def test_a_seed_of_the_options_makes_every_container_draw_alike(weights):
    def drawn(seed):
        engine = LlamaCpp(deployment(options={"seed": seed}).definition, weights)
        engine.load()
        numbers = [engine._random.getrandbits(32)]
        engine.release()
        engine.resume()
        numbers.append(engine._random.getrandbits(32))
        engine.stop()
        return numbers

    assert drawn(5) == drawn(5)
    once, again = drawn(None)
    assert once != again


def test_a_warmed_up_engine_has_forgotten_its_warm_up(weights):
    engine = LlamaCpp(deployment(warmup={"prompt_tokens": [4, 40, 4000]}).definition, weights)
    engine.load()
    engine.warm_up()
    assert engine._llama.n_tokens == 0
    assert asyncio.run(engine.first_answer()).startswith("Paris")
    engine.stop()
