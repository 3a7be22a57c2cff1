"""Plain processes, also for a user who may do nothing else."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from left_behind import left_behind

from localmodal.worker.container import Bind, ContainerError
from localmodal.worker.plain import landlock
from localmodal.worker.plain.volume_links import VolumeLinks

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]


def _volume(tmp_path: Path, name: str, at: Path) -> Bind:
    (tmp_path / name).mkdir(parents=True)
    return Bind(tmp_path / name, str(at))


async def test_a_volume_is_at_its_path_as_long_as_somebody_uses_it(process, tmp_path):
    at = tmp_path / "data/cache"
    volume = _volume(tmp_path, "volume", at)
    first = await process.start("/bin/sleep", "60", binds=(volume,))
    assert (await process.shell(f"echo hello > {at}/file", binds=(volume,))).exit.code == 0
    assert (at / "file").read_text() == (volume.source / "file").read_text() == "hello\n"
    await first.kill()
    assert not os.path.lexists(at)
    assert (volume.source / "file").exists()


async def test_two_volumes_at_one_path_are_refused(process, tmp_path):
    at = tmp_path / "data"
    await process.start("/bin/sleep", "60", binds=(_volume(tmp_path, "one", at),))
    with pytest.raises(ContainerError, match="another volume is at"):
        await process.start("/bin/sleep", "60", binds=(_volume(tmp_path, "two", at),))


async def test_a_volume_is_refused_where_something_else_is(process, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    other = _volume(tmp_path, "other", tmp_path / "free")
    with pytest.raises(ContainerError, match=f"a volume cannot be at {mine}: File exists"):
        await process.start("/bin/true", binds=(other, _volume(tmp_path, "volume", mine)))
    assert not os.path.lexists(tmp_path / "free"), "the first one is not left behind"


async def test_a_later_daemon_removes_the_links_of_a_killed_one_and_nothing_else(process, tmp_path):
    at, moved = tmp_path / "at", tmp_path / "moved"
    links = VolumeLinks(process.home.root / "volume-links")
    links.take([_volume(tmp_path, "one", at), _volume(tmp_path, "two", moved)])
    moved.unlink()
    moved.symlink_to("/somewhere/of/the/users")
    await process.runtime.sweep()
    assert not os.path.lexists(at)
    assert moved.is_symlink()


async def test_paths_that_an_image_gives_in_full_are_found_in_every_layer(process, layer_of):
    """In process mode an image's own environment names paths below its folder: WORKDIR /root is /<image>/root."""
    image, mount = layer_of("image"), layer_of("mount")
    (image / "root").mkdir()
    (image / "extra").mkdir()
    (image / "extra/of_image.py").write_text("")
    (mount / "root").mkdir()
    (mount / "root/of_mount.py").write_text("")
    program = "import of_image, of_mount, os; print(sorted(os.listdir()))"
    path = f"/root:{image}/extra"
    ended = await process.run(
        "/usr/bin/python3", "-c", program, layers=(image, mount), cwd=f"{image}/root", env={"PYTHONPATH": path}
    )
    assert ended.out == "['of_mount.py']\n", ended.err


async def test_nothing_of_a_program_is_left_after_its_end(process):
    await process.shell("echo x > file; mkdir -p deep/folder")
    assert list(process.home.temporary.iterdir()) == []


async def test_processes_end_when_their_daemon_is_killed(home):
    daemon = await _daemon(home)
    daemon.kill()
    await daemon.wait()
    await _until_none_is_left(home)


async def test_processes_whose_supervisor_was_killed_too_are_ended_by_the_next_daemon(process, home):
    daemon = await _daemon(home)
    daemon.send_signal(signal.SIGSTOP)
    children = subprocess.run(["pgrep", "-P", str(daemon.pid)], capture_output=True, text=True, check=True).stdout
    supervisors = set(map(int, children.split()))
    async with asyncio.timeout(10):
        while not set(_sleepers(home)) - supervisors:  # those who start their programs only now would orphan nothing
            await asyncio.sleep(0.02)
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    daemon.kill()
    await daemon.wait()
    assert _sleepers(home), "they were orphaned"
    await process.runtime.sweep()
    await _until_none_is_left(home)


async def test_a_program_that_is_started_while_it_is_killed_leaves_nothing(process):
    """The supervisor must not lose a child that is being forked."""
    container = await process.start("/bin/sh", "-c", "while :; do sleep 65432 & done")
    await asyncio.sleep(0.2)
    await container.kill()
    assert not subprocess.run(["pgrep", "-f", "sleep 65432"], capture_output=True, check=False).stdout


@pytest.mark.parametrize(
    "line",
    [
        "echo x > new", "echo x > mine", "echo x >> mine", "truncate -s 0 mine", "mv mine other", "rm mine",
        "mkdir new", "rmdir folder", "ln -s mine new", "ln mine new", "mkfifo new", "mknod new c 1 3",
        "mv mine $TMPDIR", "mv $HOME/moved new", "ln mine $HOME/new",
        "python3 -c 'import os; os.truncate(\"mine\", 0)'",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"new\")'", "setsid -w sh -c 'echo x > mine'",
    ],
)  # fmt: skip
async def test_a_build_changes_no_file_of_this_machine(process, layer_of, tmp_path, needs_landlock, line):
    if "os.truncate" in line and landlock.supported_version() < 3:
        pytest.skip("this kernel's Landlock does not know of truncation (Linux 6.2)")
    layer, outside = layer_of("image"), tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "mine").write_text("mine")
    (layer / "moved").write_text("moved")
    script = f"cd {outside} && {line}"
    ended = await process.shell(script, layers=(layer,), env={"HOME": str(layer)}, purpose="build")
    assert ended.exit.code != 0
    assert re.search("Permission denied|Operation not permitted|cross-device link", ended.err), ended.err
    assert sorted(path.name for path in outside.iterdir()) == ["folder", "mine"]
    assert (outside / "mine").read_text() == "mine"


async def test_a_build_writes_to_its_layer_its_volumes_its_caches_and_what_programs_need(process, layer_of, tmp_path):
    layer, cache, data = layer_of("image"), tmp_path / "cache", tmp_path / "data"
    cache.mkdir()
    volume = _volume(tmp_path, "volume", data)
    script = f"""set -e
        cd {layer}; mkdir a b; echo x > a/file; mv a/file b; ln b/file a/linked; rm -r b; truncate -s 0 a/linked
        echo x > {cache}/file; echo x > {data}/file
        file=$(mktemp); echo x > $file; mv $file {layer}/moved; echo x > here
        echo x > /dev/null; echo said > /dev/stderr; echo x > /dev/shm/$$; rm /dev/shm/$$
        python3 -c 'import multiprocessing, pty; multiprocessing.Lock(); pty.openpty()'"""
    ended = await process.shell(script, layers=(layer,), shared=(cache,), binds=(volume,), purpose="build")
    assert (ended.exit.code, ended.err) == (0, "said\n")
    assert (
        (layer / "moved").read_text() == (cache / "file").read_text() == (volume.source / "file").read_text() == "x\n"
    )
    assert list(process.home.temporary.iterdir()) == []


async def test_a_build_cannot_write_to_a_volume_that_is_only_to_be_read(process, tmp_path, needs_landlock):
    volume = replace(_volume(tmp_path, "volume", tmp_path / "data"), read_only=True)
    ended = await process.shell(f"echo x > {tmp_path}/data/file", binds=(volume,), purpose="build")
    assert "Permission denied" in ended.err
    assert list(volume.source.iterdir()) == []


async def test_a_function_is_not_confined(process, tmp_path):
    assert (await process.shell(f"echo x > {tmp_path}/file")).exit.code == 0


@pytest.mark.parametrize("purpose", ["function", "build"])
async def test_a_program_that_cannot_be_started_is_named(process, tmp_path, purpose):
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    ended = await process.run(str(program), purpose=purpose)
    assert (ended.exit.code, ended.err) == (127, f"{program}: No such file or directory\n")


async def test_a_pipe_that_nobody_reads_ends_a_line_of_a_build_in_silence(process):
    ended = await process.shell("yes | head -n 1", purpose="build")
    assert (ended.out, ended.err) == ("y\n", "")


@pytest.mark.parametrize(("version", "left"), [(-1, "x\n"), (0, "x\n"), (1, "x\n"), (2, "mine"), (3, "mine")])
def test_an_older_kernel_is_asked_for_what_it_knows(tmp_path, needs_landlock, version, left):
    (tmp_path / "mine").write_text("mine")
    program = (
        "from localmodal.worker.plain import landlock; import os, sys;"
        f"landlock.supported_version = lambda: {version}; landlock.write_only_below(['/dev/null']);"
        "os.execvp('sh', ['sh', '-c', 'echo x > mine'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (tmp_path / "mine").read_text() == left


_DROP_ALL = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
UNPRIVILEGED = {
    "root without any capability": _DROP_ALL,
    "another user in a user namespace": (*_DROP_ALL, "unshare", "--user", "--"),
}
"""Ways to be somebody who may do nothing, but still read this project if it lies in root's home."""


@pytest.mark.skipif(os.geteuid() != 0, reason="somebody without rights runs every test like this anyway")
@pytest.mark.parametrize("way", UNPRIVILEGED)
def test_all_of_it_works_without_rights(way, tmp_path):
    """Runs the promises of every runtime again, as somebody without rights: those of `runc` are then skipped."""
    if subprocess.run([*UNPRIVILEGED[way], "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"this machine does not let one be {way}")
    run = subprocess.run(
        [*UNPRIVILEGED[way], sys.executable, "-m", "pytest", "-rs", f"--basetemp={tmp_path / 'tests'}",
         "tests/worker/test_runtimes.py"],
        cwd=PROJECT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLDSNAP_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "this machine runs no containers" in run.stdout
    assert "17 passed, 17 skipped" in run.stdout, run.stdout


async def _daemon(home):
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "daemon.py"), "process", str(home.root),
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    for _ in range(3):
        await daemon.stdout.readline()
    return daemon


def _sleepers(home) -> list[int]:
    mark = f"COLDSNAP_WORKER={home.root}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(path.name)] if mark in (path / "environ").read_bytes().split(b"\0") else []
        except OSError:
            continue
    return found


async def _until_none_is_left(home) -> None:
    async with asyncio.timeout(10):
        while _sleepers(home):
            await asyncio.sleep(0.02)
    assert "processes" not in left_behind(home)
