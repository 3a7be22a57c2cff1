"""CRIU's cache of the kernel's features is found, and nothing of it is on the machine."""

import asyncio
import subprocess
import tempfile
from pathlib import Path

import pytest

from localmodal.worker import linux
from localmodal.worker.snapshots.kernel_data import KernelData


@pytest.fixture
async def kernel_data(needs_snapshots, tmp_path):
    made = KernelData(tmp_path / "kernel-data", needs_snapshots)
    await made.make()
    return made


def checked(criu, enter=None):
    def check():
        if enter:
            enter()
        return subprocess.run([criu, "check", "-v4"], capture_output=True, text=True, check=False).stderr

    return linux.in_own_thread(check)


async def test_criu_finds_it_after_entering(kernel_data, needs_snapshots):
    assert "Loaded kdat cache" in await asyncio.to_thread(checked, needs_snapshots, kernel_data.enter)


async def test_the_machines_own_run_folder_and_mounts_stay_as_they_were(kernel_data, needs_snapshots):
    before = criu_on_this_machine()
    await kernel_data.make()
    await asyncio.to_thread(checked, needs_snapshots, kernel_data.enter)
    assert criu_on_this_machine() == before


def criu_on_this_machine():
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4] == "/run"]
    return sorted(Path("/run").glob("*criu*")), mounts


async def test_what_lies_in_the_run_folder_is_still_seen_after_entering(kernel_data):
    def listed():
        kernel_data.enter()
        return sorted(path.name for path in Path("/run").iterdir())

    names = await asyncio.to_thread(linux.in_own_thread, listed)
    assert set(names) - {"criu.kdat"} == {path.name for path in Path("/run").iterdir()} - {"criu.kdat"}


async def test_what_criu_leaves_in_the_folder_for_temporary_files_is_not_on_this_machine(kernel_data):
    def left():
        kernel_data.enter()
        made = subprocess.run(["mktemp", "-d", "/tmp/.criu.mntns.XXXXXX"], capture_output=True, text=True, check=True)
        return Path(made.stdout.strip())

    assert not (await asyncio.to_thread(linux.in_own_thread, left)).exists()


async def test_what_it_needs_is_still_seen_where_it_lies_among_temporary_files(needs_snapshots):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        disk = Path(folder, "local/disk")
        disk.mkdir(parents=True)
        Path(folder, "tools").symlink_to(needs_snapshots.parent)
        kernel_data = KernelData(Path(folder, "local/kernel-data"), Path(folder, "tools/criu"))
        await kernel_data.make()

        def seen():
            linux.leave_mounts()
            linux.mount("tmpfs", disk, "tmpfs")
            (disk / "layer").touch()
            kernel_data.enter()
            return (disk / "layer").exists(), checked(Path(folder, "tools/criu")), [*Path("/tmp").iterdir()]

        layer, said, others = await asyncio.to_thread(linux.in_own_thread, seen)
    assert layer
    assert "Loaded kdat cache" in said
    assert others == [Path(folder)]


async def test_without_it_everything_still_works(tmp_path, caplog):
    broken = KernelData(tmp_path / "kernel-data", Path("/bin/false"))
    await broken.make()
    assert "CRIU starts without its kernel cache" in caplog.text
    linux.in_own_thread(broken.enter)
