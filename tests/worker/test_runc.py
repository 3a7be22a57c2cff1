"""What only real containers promise: limits, layers, networks, and that nothing is left of them."""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest
from left_behind import left_behind, networks_held_open

from localmodal.worker.capabilities import capabilities_of_this_machine
from localmodal.worker.container import Bind, ContainerError
from localmodal.worker.oci.disk import Disk, DiskError

EAT_MEMORY = "x = []\nwhile True: x.append(bytearray(b'1' * (1 << 20)))"


async def test_a_container_over_its_memory_limit_is_ended_and_says_so(runc):
    ended = await runc.run("/usr/bin/python3", "-c", EAT_MEMORY, memory_limit_mib=64)
    assert (ended.exit.code, ended.exit.out_of_memory) == (137, True)


async def test_memory_that_is_only_promised_is_no_limit(runc):
    ended = await runc.run("/usr/bin/python3", "-c", "print(len(b'1' * (200 << 20)) >> 20)", memory_mib=64)
    assert ended.out == "200\n"


async def test_a_killed_container_did_not_run_out_of_memory(runc):
    container = await runc.start("/bin/sleep", "60", memory_limit_mib=64)
    await container.kill()
    assert not (await container.wait()).out_of_memory


async def test_cores_become_shares_and_a_quota(runc):
    container = await runc.start("/bin/sleep", "60", cpu=0.5, cpu_limit=1.5)
    folders = container.bundle.cgroup.folders()
    values = {name: _read(folders, name) for name in ("cpu.cfs_quota_us", "cpu.shares", "cpu.max")}
    await container.kill()
    assert values["cpu.max"] == "150000 100000" or (values["cpu.cfs_quota_us"], values["cpu.shares"]) == (
        "150000",
        "512",
    )


def _read(folders: list[Path], name: str) -> str:
    return next((path.read_text().strip() for folder in folders if (path := folder / name).exists()), "")


async def test_nothing_is_left_of_a_container_that_ended(runc):
    await runc.shell("mkdir -p /some/where; echo x > /some/where/file; chmod 0 /some/where; setsid sleep 60 &")
    assert left_behind(runc.home) == {}


async def test_nothing_is_left_of_a_container_that_could_not_start(runc, tmp_path):
    with pytest.raises(ContainerError, match="/no/such/program"):
        await runc.start("/no/such/program")
    with pytest.raises(ContainerError, match="no-such-source"):
        await runc.start("/bin/true", binds=(Bind(tmp_path / "no-such-source", "/data"),))
    with pytest.raises(ContainerError, match="is not there"):
        await runc.start("/bin/true", layers=(runc.home.disk / "no-such-layer",))
    with pytest.raises(ContainerError, match="must lie on the mounted disk"):
        await runc.start("/bin/true", layers=(Path("/usr"),))
    assert left_behind(runc.home) == {}


async def test_a_container_that_was_killed_leaves_nothing(runc):
    container = await runc.start("/bin/sleep", "60")
    await container.kill()
    assert left_behind(runc.home) == {}


async def test_a_network_goes_with_its_container(runc):
    container = await runc.start("/bin/sleep", "60")
    network = str(Path(f"/proc/{container.pid}/ns/net").readlink())
    assert network in networks_held_open()
    await container.kill()
    assert network not in networks_held_open()


async def test_closing_unmounts_the_disk_and_leaves_nothing_mounted(runc):
    await runc.start("/bin/sleep", "60")
    await runc.runtime.close()
    assert not runc.home.disk.is_mount()
    # Whoever copied this machine's mounts meanwhile (any runc that starts) keeps the loop device for a moment longer.
    async with asyncio.timeout(20):
        while left_behind(runc.home, closed=True):
            await asyncio.sleep(0.05)


async def test_upper_layers_win_and_may_delete_what_is_below(runc, layer):
    lower, upper = layer("lower"), layer("upper")
    (lower / "a").write_text("low a")
    (lower / "b").write_text("low b")
    (upper / "a").write_text("high a")
    await runc.shell("rm /b; ls /", layers=(lower,), keep_upper=upper)
    ended = await runc.shell("cat /a; ls /b", layers=(lower, upper))
    assert (ended.out, "No such file" in ended.err) == ("high a", True)


async def test_a_build_step_leaves_its_writes_as_a_layer(runc):
    upper = runc.home.disk / "layers/step"
    ended = await runc.shell("mkdir -p /opt/tool && echo yes > /opt/tool/file", purpose="build", keep_upper=upper)
    assert ended.exit.code == 0
    assert (upper / "opt/tool/file").read_text() == "yes\n"
    assert left_behind(runc.home) == {}
    assert (await runc.shell("cat /opt/tool/file", layers=(upper,))).out == "yes\n"


async def test_a_build_step_has_the_machines_network_and_may_change_owners(runc):
    script = "readlink /proc/self/ns/net; touch /f; chown 1234:1234 /f && stat -c %u /f; su nobody -s /bin/sh -c id"
    ended = await runc.shell(script, purpose="build")
    assert ended.out.splitlines()[:2] == [str(Path("/proc/self/ns/net").readlink()), "1234"]
    assert "nobody" in ended.out.splitlines()[2]


async def test_a_function_may_not_change_owners(runc):
    assert (await runc.shell("touch /f; chown 1234:1234 /f")).exit.code != 0


async def test_names_with_colons_and_commas_do_not_confuse_the_overlay(runc, layer):
    odd = layer("odd:name,with\\all")
    (odd / "file").write_text("found")
    assert (await runc.shell("cat /file", layers=(odd,))).out == "found"


async def test_fifty_layers_fit(runc, layer):
    layers = tuple(layer(f"{number:064}") for number in range(50))
    (layers[0] / "file").write_text("found")
    assert (await runc.shell("cat /file", layers=layers)).out == "found"


async def test_a_bundle_with_secrets_is_readable_by_us_alone(runc):
    container = await runc.start("/bin/sleep", "60", env={"TOKEN": "hush"})
    config = container.bundle.folder / "config.json"
    modes = [path.stat().st_mode & 0o077 for path in (config, config.parent, runc.home.disk)]
    words = [word for path in Path("/proc").glob("[0-9]*/cmdline") if b"hush" in (word := _bytes(path))]
    await container.kill()
    assert modes == [0, 0, 0]
    assert words == []
    assert not config.exists()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def _killed_daemon(home, after, kind: str = "runc") -> None:
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("daemon.py")), kind, str(home.root),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await after(daemon)
    finally:
        daemon.kill()
        await daemon.wait()


async def test_a_later_daemon_ends_and_removes_what_a_killed_one_left(needs_containers, home, runc_again):
    async def three_run(daemon) -> None:
        for _ in range(3):
            await daemon.stdout.readline()

    await _killed_daemon(home, three_run)
    assert left_behind(home)["mounts"], "something was left"
    await runc_again()
    assert left_behind(home) == {}


@pytest.mark.parametrize("attempt", range(5))
async def test_whatever_it_was_in_the_middle_of(needs_containers, home, runc_again, attempt):
    """Kills it at a moment of its start or of a container's start: each takes a few tens of milliseconds."""

    async def a_while(daemon) -> None:
        if attempt:
            await daemon.stdout.readline()
        await asyncio.sleep(random.uniform(0, 0.3))

    await _killed_daemon(home, a_while)
    await runc_again()
    await asyncio.sleep(0.3)
    assert left_behind(home) == {}


@pytest.mark.parametrize("attempt", range(6))
async def test_not_even_if_it_was_taking_a_snapshot_or_restoring_one(needs_snapshots, home, tools, runc_again, attempt):
    """A dump leaves processes frozen and traced, a restore half a process tree."""

    async def a_while(daemon) -> None:
        for _ in range(attempt):
            await daemon.stdout.readline()
        await asyncio.sleep(random.uniform(0, 0.3))

    await _killed_daemon(home, a_while, "snapshots")
    await capabilities_of_this_machine(home, tools)  # it may have been finding these out
    await runc_again()
    await asyncio.sleep(0.3)
    assert left_behind(home) == {}


async def test_the_disk_survives_the_daemon_with_what_is_on_it(needs_containers, home):
    disk = Disk(home)
    await disk.mount()
    (disk.folder / "kept").write_text("x")
    await disk.mount()
    disk.unmount()
    assert not (disk.folder / "kept").exists()
    await Disk(home).mount()
    assert (disk.folder / "kept").read_text() == "x"
    disk.unmount()
    disk.unmount()


async def test_a_disk_whose_making_was_cut_off_is_made_again(needs_containers, home):
    home.disk_image.with_suffix(".part").write_bytes(b"half")
    disk = Disk(home)
    await disk.mount()
    assert disk.folder.is_mount()
    disk.unmount()


async def test_no_space_for_the_disk_is_an_error_that_says_how_much_is_needed(needs_containers, home, monkeypatch):
    monkeypatch.setattr("localmodal.worker.oci.disk._LEAST_FREE", 1 << 60)
    with pytest.raises(DiskError, match="MiB free, containers need 1024"):
        await Disk(home).mount()
    assert not home.disk_image.exists()


async def test_no_mkfs_is_an_error_that_says_what_to_install(needs_containers, home, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("os.defpath", "/nowhere")
    with pytest.raises(DiskError, match=r"mkfs.ext4 is not installed: install e2fsprogs"):
        await Disk(home).mount()


async def test_a_frozen_group_is_ended_too(runc):
    """What a checkpoint that was cut off leaves."""
    container = await runc.start("/bin/sleep", "60")
    await runc.runtime.runc("pause", container.id)
    await asyncio.to_thread(container.bundle.cgroup.kill)
    await container.wait()
    assert left_behind(runc.home) == {}
