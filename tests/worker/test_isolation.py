"""What a container cannot see and cannot do, looked for from inside."""

import asyncio
import os
import secrets
from pathlib import Path

import pytest

from localmodal.worker.container import Bind
from localmodal.worker.oci import masks

PLACES = "/ /root /home /tmp /var/tmp /run /etc /opt /mnt /srv"
SEARCH = f"grep -rslF --one-file-system {{needle}} {PLACES} {{more}} 2>/dev/null; true"


@pytest.fixture
def planted():
    """Plants files on this machine and takes them away again; only what was not there before."""
    made: list[Path] = []

    def plant(path: str | Path, content: str, mode: int = 0o644) -> None:
        path = Path(path)
        assert not path.exists(), f"{path} is somebody's"
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        path.write_text(content)
        path.chmod(mode)
        made.append(path)

    yield plant
    for path in reversed(made):
        path.rmdir() if path.is_dir() else path.unlink()


HIDDEN = (
    "/root/.ssh/coldsnap-test-key",
    "/root/.aws/coldsnap-test-credentials",
    "/root/.config/gcloud/coldsnap-test.json",
    "/root/.kube/coldsnap-test-config",
    "/root/.docker/coldsnap-test.json",
    "/root/.modal-coldsnap-test.toml",
    "/home/coldsnap-test-user/.netrc",
    "/tmp/coldsnap-test-secret",
    "/var/tmp/coldsnap-test-secret",
    "/run/coldsnap-test/docker.sock.secret",
    "/run/secrets/coldsnap-test-token",
    "/etc/ssh/coldsnap_test_host_key",
    "/etc/ssl/private/coldsnap-test.key",
    "/etc/kubernetes/coldsnap-test.conf",
    "/etc/docker/coldsnap-test.json",
    "/var/lib/coldsnap-test/state",
    "/var/log/coldsnap-test.log",
    "/var/backups/coldsnap-test-shadow.bak",
    "/mnt/coldsnap-test-disk/file",
    "/srv/coldsnap-test/file",
    "/coldsnap-test-data/file",
)


async def test_secrets_of_this_machine_are_not_found_from_inside(runc, planted):
    needle = secrets.token_hex(16)
    for path in HIDDEN:
        planted(path, needle)
    ended = await runc.shell(SEARCH.format(needle=needle, more=" ".join(HIDDEN)))
    assert ended.out == ""
    listed = await runc.shell(f"ls -d {' '.join(HIDDEN)} 2>/dev/null")
    assert listed.out == "", "not even their names"


async def test_what_others_may_not_read_below_etc_is_not_found_from_inside(runc, planted):
    needle = secrets.token_hex(16)
    planted("/etc/coldsnap-test.conf", needle, 0o600)
    planted("/etc/coldsnap-test-folder/inner", needle)
    Path("/etc/coldsnap-test-folder").chmod(0o700)
    ended = await runc.shell(f"grep -rslF {needle} /etc; ls -d /etc/coldsnap-test*")
    assert ended.out == ""


async def test_password_hashes_are_not_visible_but_the_accounts_are(runc):
    accounts = Path("/etc/passwd").read_text().count("\n")
    ended = await runc.shell("cut -d: -f2 /etc/shadow | sort | uniq -c")
    assert ended.out.split() == [str(accounts), "*"]


async def test_our_own_state_is_not_visible_wherever_it_lies(runc, planted):
    needle = secrets.token_hex(16)
    (runc.home.root / "token.json").write_text(needle)
    ended = await runc.shell(f"cat {runc.home.root}/token.json; ls -a {runc.home.root} {runc.home.root.parent}")
    assert needle not in ended.out
    assert ended.exit.code != 0


async def test_our_own_state_is_hidden_in_a_folder_that_containers_see(needs_containers, planted):
    """Such as /opt: a home there must be in the mask itself."""
    ours = Path("/opt/coldsnap-test-home")
    planted(ours / "local/token.json", "hush")
    assert "opt/coldsnap-test-home" in masks.mask_of(Path("/"), (ours,)).folders


async def test_a_secret_that_appears_while_the_daemon_runs_is_hidden_too(runc, planted):
    await runc.shell("true")
    planted("/coldsnap-test-late/secret", "hush")
    planted("/etc/default/coldsnap-test-late.conf", "hush", 0o600)
    ended = await runc.shell("cat /coldsnap-test-late/secret /etc/default/coldsnap-test-late.conf")
    assert "hush" not in ended.out


async def test_the_machine_is_read_only_below_what_a_container_writes(runc):
    marker = Path("/usr/coldsnap-test-marker")
    ended = await runc.shell(
        f"echo mine > {marker} && cat {marker} && rm -rf /usr/share/doc && ls /usr/share | grep -c ^doc$"
    )
    assert ended.out.splitlines() == ["mine", "0"]
    assert not marker.exists()
    assert Path("/usr/share/doc").exists()


async def test_two_containers_do_not_see_each_others_files(runc):
    await runc.shell("echo hush > /tmp/mine; echo hush > /dev/shm/mine")
    ended = await runc.shell("cat /tmp/mine /dev/shm/mine")
    assert ended.out == ""


async def test_processes_of_this_machine_are_not_visible(runc):
    ended = await runc.shell("ls -d /proc/[0-9]* | wc -l; echo $$; kill -9 2 2>&1")
    assert ended.out.split()[:2] != []
    assert int(ended.out.split()[0]) < 8
    assert ended.out.split()[1] == "1"


async def test_a_container_has_its_own_network_host_name_and_shared_memory(runc):
    ended = await runc.shell("for n in net uts ipc mnt pid; do readlink /proc/self/ns/$n; done")
    ours = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("net", "uts", "ipc", "mnt", "pid")]
    assert not set(ended.out.split()) & set(ours)
    assert len(set(ended.out.split())) == 5


async def test_a_function_has_no_capability_and_can_gain_none(runc):
    ended = await runc.shell("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status")
    fields = dict(line.split(":\t") for line in ended.out.splitlines())
    assert {value for name, value in fields.items() if name.startswith("Cap")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


LIBC = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
FORBIDDEN = {
    "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "unshare a user namespace": "libc.unshare(0x10000000)",
    "clone into a user namespace": "libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "load BPF": "libc.syscall(321, 0, 0, 0)",
    "read the kernel's log": "libc.klogctl(3, ctypes.create_string_buffer(99), 99)",
    "use the kernel's keys": "libc.syscall(250, 0, -3, 0)",
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the system calls are x86-64's")
@pytest.mark.parametrize("what", FORBIDDEN)
async def test_a_container_may_not(runc, what):
    ended = await runc.run("/usr/bin/python3", "-c", f"{LIBC}print({FORBIDDEN[what]}, ctypes.get_errno())")
    assert ended.out == "-1 1\n", ended.err  # EPERM


async def test_io_uring_and_userfaultfd_seem_not_to_exist(runc):
    """Neither can be checkpointed; programs that ask for them have another way."""
    calls = "[(c.syscall(number, 8, 0), ctypes.get_errno()) for number in (425, 323)]"
    ended = await runc.run(
        "/usr/bin/python3", "-c", f"import ctypes; c = ctypes.CDLL(None, use_errno=True); print({calls})"
    )
    assert ended.out == "[(-1, 38), (-1, 38)]\n"  # ENOSYS


async def test_the_virtual_machines_host_cannot_be_reached(runc):
    ended = await runc.run(
        "/usr/bin/python3", "-c", "import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)"
    )
    assert "Address family not supported" in ended.err


async def test_kernel_settings_and_devices_are_out_of_reach(runc):
    script = """
    echo 1 > /proc/sys/vm/drop_caches && echo wrote sys
    echo b > /proc/sysrq-trigger && echo wrote sysrq
    test -s /proc/kcore && head -c1 /proc/kcore | grep -q . && echo read kcore
    echo 1 > /sys/kernel/profiling && echo wrote /sys
    mknod /dev/disk b 254 0 && echo made a device
    ls /dev
    """
    ended = await runc.shell(script)
    devices = set(ended.out.split())
    expected = {
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert devices == expected


async def test_a_server_inside_may_listen_on_a_low_port(runc):
    ended = await runc.run(
        "/usr/bin/python3", "-c", "import socket; print(socket.create_server(('0.0.0.0', 80)).getsockname())"
    )
    assert ended.out == "('0.0.0.0', 80)\n", ended.err


ADDRESS_OF_ETH0 = """
import fcntl, socket, struct
answer = fcntl.ioctl(socket.socket(), 0x8915, struct.pack("256s", b"eth0"))  # SIOCGIFADDR
print(socket.inet_ntoa(answer[20:24]))
"""


async def test_eth0_has_the_same_address_in_every_container(runc):
    """What the client's `web_server` looks for, and what a restored socket is bound to."""
    first, second = [await runc.run("/usr/bin/python3", "-c", ADDRESS_OF_ETH0) for _ in range(2)]
    assert first.out == second.out == "10.77.0.2\n"


async def test_the_daemons_http_is_reached_at_its_own_address_from_inside(runc):
    program = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:18181/blob').read())"
    assert (await runc.run("/usr/bin/python3", "-c", program)).out == "b'blob'\n"


async def test_a_unix_socket_in_a_bound_folder_reaches_this_machine(runc, tmp_path):
    async def answer(reader, writer):
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "api.sock")
    program = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/coldsnap/api.sock'); print(s.recv(9))"
    ended = await runc.run("/usr/bin/python3", "-c", program, binds=(Bind(tmp_path, "/run/coldsnap"),))
    server.close()
    assert ended.out == "b'hello'\n", ended.err


async def test_a_read_only_bind_cannot_be_written(runc, tmp_path):
    (tmp_path / "file").write_text("old")
    ended = await runc.shell("echo new > /data/file", binds=(Bind(tmp_path, "/data", read_only=True),))
    assert ended.exit.code != 0
    assert (tmp_path / "file").read_text() == "old"


async def test_a_writable_bind_is_seen_on_both_sides_at_once(runc, tmp_path):
    await runc.shell("echo new > /mnt/volume/file", binds=(Bind(tmp_path, "/mnt/volume"),))
    assert (tmp_path / "file").read_text() == "new\n"
