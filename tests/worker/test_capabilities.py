"""What is missing is named, with what to do about it; nothing is believed that was not tried."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from localmodal.home import Home
from localmodal.worker import capabilities as module
from localmodal.worker.capabilities import Tools, capabilities_of_this_machine, find_tools
from localmodal.worker.container import Capabilities, ContainerError
from localmodal.worker.oci.disk import Disk

PROJECT = Path(__file__).parents[2]
NO_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def _program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only_path(tmp_path, monkeypatch) -> Path:
    """A machine whose programs are those in one folder."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(module, "_search_path", lambda: [str(folder)])
    return folder


async def test_a_criu_that_is_too_old_is_passed_over_for_a_newer_one_of_ours(home, only_path):
    _program(only_path, "criu", "Version: 3.17.1")
    assert (await find_tools(home)).criu is None
    ours = _program(home.tools / "criu", "criu", "Version: 4.2.1")
    tools = await find_tools(home)
    assert tools.criu == ours
    assert tools.path.split(":")[0] == str(ours.parent), "runc takes the first criu on the PATH"


async def test_a_program_called_criu_that_is_none_is_passed_over(home, only_path):
    _program(only_path, "criu", "hello")
    assert (await find_tools(home)).criu is None


async def test_all_that_is_missing_is_named_with_its_remedy(needs_containers, home, only_path):
    found = await capabilities_of_this_machine(home, Tools(None, None))
    assert not found.containers
    assert {missing.what: missing.remedy for missing in found.missing} == {
        "runc": "install it: apt-get install runc, or your system's package of that name",
        "mkfs.ext4": "install it: apt-get install e2fsprogs",
        "CRIU 4.2 or newer": "run `make setup`, which installs it beside the system, or install your system's package",
    }


async def test_without_criu_containers_run_and_snapshots_are_what_is_missing(needs_containers, home, tools):
    found = await capabilities_of_this_machine(home, Tools(tools.runc, None))
    assert (found.containers, found.snapshots) == (True, False)
    assert [(missing.what, missing.needed_for) for missing in found.missing] == [
        ("CRIU 4.2 or newer", "memory snapshots")
    ]
    assert "make setup" in found.missing[0].remedy


async def test_a_container_that_does_not_run_says_why(needs_containers, home, tools, monkeypatch):
    async def fails(_: object) -> None:
        raise ContainerError("seccomp: not in this kernel")

    monkeypatch.setattr(module, "_run_true", fails)
    found = await capabilities_of_this_machine(home, tools)
    assert not found.containers
    assert "seccomp: not in this kernel" in found.missing[0].what
    assert "--privileged" in found.missing[0].remedy


async def test_what_works_is_tried_once_a_boot_and_what_does_not_each_time(needs_containers, home, tools, monkeypatch):
    tried = []

    async def try_it(*_: object) -> Capabilities:
        tried.append(True)
        return Capabilities(containers=True, snapshots=True)

    monkeypatch.setattr(module, "_find_out", try_it)
    for _ in range(2):
        assert (await capabilities_of_this_machine(home, tools)).snapshots
    assert len(tried) == 1
    assert not (await capabilities_of_this_machine(Home(home.root / "other"), Tools(None, None))).missing
    assert len(tried) == 2, "another home has its own note"


async def test_another_criu_is_tried_anew(needs_containers, home, tools, only_path, monkeypatch):
    await capabilities_of_this_machine(home, Tools(tools.runc, _program(only_path, "criu", "Version: 4.2")))

    async def another(*_: object) -> Capabilities:
        return Capabilities(containers=False, snapshots=False)

    monkeypatch.setattr(module, "_find_out", another)
    found = await capabilities_of_this_machine(
        home, Tools(tools.runc, _program(only_path / "new", "criu", "Version: 5.0"))
    )
    assert not found.containers


async def test_a_trial_that_was_killed_leaves_nothing_after_the_next(needs_containers, home, tools):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = Disk(Home(home.root / f"trial-{gone.pid}"))
    left.folder.parent.mkdir()
    await left.mount()
    assert (await capabilities_of_this_machine(home, tools)).containers
    assert not left.folder.is_mount()
    assert list(home.root.glob("trial-*")) == []


def test_somebody_without_rights_is_told_so(needs_containers, tmp_path):
    run = subprocess.run(
        [*NO_RIGHTS, sys.executable, "-m", "localmodal", "capabilities"],
        cwd=PROJECT, env={"PATH": "/usr/bin:/bin", "COLDSNAP_HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(run.stdout)
    assert (found["containers"], found["snapshots"]) == (False, False)
    assert "the right to mount (CAP_SYS_ADMIN)" in [missing["what"] for missing in found["missing"]]
    assert all(missing["remedy"] for missing in found["missing"])


CROWDED = """
umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/crowded-$$; echo $$ > /sys/fs/cgroup/crowded-$$/cgroup.procs
unshare --cgroup --mount sh -c 'umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"' sh "$@"
echo $$ > /sys/fs/cgroup/cgroup.procs; rmdir /sys/fs/cgroup/crowded-$$
"""


def test_control_groups_that_cannot_limit_are_named(needs_containers, tmp_path):
    """A control group namespace of cgroup v2 with processes at its top, as Docker gives a privileged container one."""
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", CROWDED, "sh", sys.executable, "-m", "localmodal", "capabilities"],
        cwd=PROJECT, env={**os.environ, "COLDSNAP_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (missing,) = json.loads(run.stdout)["missing"]
    assert missing["what"] == "control groups that can limit CPU, memory and processes"
    assert "first move them down, mkdir /sys/fs/cgroup/init" in missing["remedy"]
    assert not list(Path("/sys/fs/cgroup").rglob("crowded-*"))
