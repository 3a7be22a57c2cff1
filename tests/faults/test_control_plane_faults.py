"""What goes wrong with the control plane itself is said once and in words, and harms nothing that is deployed."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from faulty import SMALL, Steady, standstill
from pulumi_project import CHAT, Project

if TYPE_CHECKING:
    from pathlib import Path

UP = ("up", "--yes", "--skip-preview")


def test_a_stopped_control_plane_is_left_so_by_a_preview_and_started_by_an_update_of_nothing(steady: Steady) -> None:
    steady.daemon.verb("stop")
    steady.pulumi("preview", "--expect-no-changes")
    assert not steady.daemon.status["running"]
    steady.pulumi(*UP, "--expect-no-changes")
    assert steady.daemon.status["running"]


def test_a_control_plane_of_another_version_is_replaced_with_a_word_of_it(steady: Steady) -> None:
    endpoint = steady.daemon.paths.endpoint
    endpoint.write_text(json.dumps({**json.loads(endpoint.read_text()), "version": "0.0-old"}))
    said = steady.pulumi(*UP, "--expect-no-changes")
    assert said.partition("Diagnostics:")[2].count("warning: Replacing the daemon of version 0.0-old") == 1
    assert not steady.daemon.status["stale"]


def test_a_port_that_is_taken_is_named_once_and_changes_nothing(steady: Steady) -> None:
    steady.daemon.verb("stop")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        steady.env["COLDSNAP_HTTP_PORT"] = port
        said = steady.up(fails=True)
    del steady.env["COLDSNAP_HTTP_PORT"]
    assert said.count(f"COLDSNAP_HTTP_PORT={port}: Address already in use. Free the port, or set") == 1
    assert "Traceback" not in said
    steady.up()


def test_the_port_of_the_last_time_is_not_left_to_whoever_has_taken_it(steady: Steady) -> None:
    """Addresses that were given out hold it. Another one is taken when it is asked for, and then kept."""
    old = steady.daemon.status["http_port"]
    steady.daemon.verb("stop")
    with socket.create_server(("127.0.0.1", old)):
        said = steady.up(fails=True)
        assert f"COLDSNAP_HTTP_PORT={old} (the port of the last time): Address already in use." in said
        steady.env["COLDSNAP_HTTP_PORT"] = "0"
        steady.pulumi(*UP, "--refresh")
        del steady.env["COLDSNAP_HTTP_PORT"]
        assert f":{steady.daemon.status['http_port']}/" in steady.output()["url"]
        assert steady.daemon.status["http_port"] != old


def test_a_second_update_at_the_same_time_is_told_of_the_lock_and_the_first_goes_on(steady: Steady) -> None:
    steady.declare_another_version()
    with steady.start(*UP) as first:
        assert first.stdout is not None
        assert any("deploying" in line for line in first.stdout)
        with standstill(steady.control_plane()):
            said = steady.up(fails=True)
        said_by_the_first, _ = first.communicate()
    assert "the stack is currently locked by 1 lock(s)" in said
    assert first.returncode == 0, said_by_the_first


def test_two_stacks_updated_at_once_share_one_control_plane_and_one_image(steady: Steady, tmp_path: Path) -> None:
    other = Project(tmp_path / "project", steady.env, "other")
    other.declare(CHAT | {"name": "other", "snapshot": {"enabled": False}, "warmup": SMALL})
    other.pulumi("stack", "init")
    steady.daemon.kill()
    steady.declare_another_version()
    with steady.start(*UP) as first, other.start(*UP) as second:
        said = [update.communicate()[0] for update in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert steady.output()["image_id"] == other.output("other")["image_id"]
    other.pulumi("destroy", "--yes", "--skip-preview", "--remove")
