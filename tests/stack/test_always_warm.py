"""A service that keeps containers warm is proved and measured like any other, and has them back afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_project import CHAT

if TYPE_CHECKING:
    from pulumi_project import Project
    from real_daemon import Daemon


def test_a_service_that_is_kept_warm_has_figures_all_the_same(project: Project, daemon: Daemon) -> None:
    warmup = {"restores_in_a_row": 2, "max_starts": 4, "prompt_tokens": [4]}
    project.declare(CHAT | {"scaling": {"min_containers": 1, "buffer_containers": 1}, "warmup": warmup})
    said = project.up()
    assert "warning: coldsnap:services[0].scaling.min_containers: 1 kept warm, but none while" in said
    chat = project.output()
    assert chat["cold"]["runs"] == 1
    if daemon.capabilities["snapshots"]:
        assert (chat["snapshot"], chat["restored"]["runs"]) == ("verified", 2)
        assert chat["speedup"]
    assert [one["app_id"] for one in daemon.status["containers"]] == [chat["app_id"]]
    project.pulumi("preview", "--expect-no-changes")
