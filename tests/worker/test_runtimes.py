"""What every runtime promises, whichever it is."""

import asyncio
import signal
from pathlib import Path

import pytest

from localmodal.worker.container import ContainerError

SYSTEM_PYTHON = "/usr/bin/python3"
SERVE = """
import socket
listener = socket.create_server(("127.0.0.1", 23456))
print("up", flush=True)
listener.accept()[0].send(b"hi")
"""


async def _until(happened, what: str) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.01)
    assert happened(), what


async def test_the_exit_code_of_the_first_process_is_passed_on(bench):
    assert (await bench.shell("exit 222")).exit.code == 222
    assert (await bench.shell("exit 0")).exit.code == 0


async def test_what_is_written_comes_in_order_and_by_its_descriptor(bench):
    ended = await bench.shell("for i in 1 2 3; do echo out$i; echo err$i >&2; done")
    assert (ended.out, ended.err) == ("out1\nout2\nout3\n", "err1\nerr2\nerr3\n")


async def test_not_a_byte_of_much_output_is_lost(bench):
    ended = await bench.shell("head -c 3000000 /dev/zero")
    assert len(ended.out) == 3_000_000


async def test_output_arrives_while_the_container_runs(bench):
    wrote = []
    container = await bench.start("/bin/sh", "-c", "echo now; sleep 60", output=lambda _, chunk: wrote.append(chunk))
    await _until(lambda: wrote == [b"now\n"], "the line came before the end")
    await container.kill()


async def test_the_environment_is_what_was_asked_for_and_nothing_of_the_daemons(bench, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "hush")
    ended = await bench.shell("env", env={"GREETING": "hello world"})
    assert "GREETING=hello world" in ended.out.splitlines()
    assert "hush" not in ended.out


async def test_standard_input_is_empty(bench):
    assert (await bench.shell("cat; exit 3")).exit.code == 3


async def test_kill_ends_every_process_even_one_that_left_its_session(bench):
    script = "setsid sh -c 'trap \"\" TERM HUP INT; exec sleep 98765' & exec sleep 98765"
    container = await bench.start("/bin/sh", "-c", script)
    await _until(lambda: len(_processes("98765")) >= 2, "both run")
    await container.kill()
    assert _processes("98765") == []


async def test_daemons_that_a_program_left_end_with_it(bench):
    await bench.shell("setsid sleep 87654 & sleep 0.2; exit 0")
    assert _processes("87654") == []


async def test_a_killed_container_has_the_exit_code_of_sigkill(bench):
    container = await bench.start("/bin/sleep", "60")
    await container.kill()
    assert (await container.wait()).code == 128 + signal.SIGKILL


async def test_a_signal_reaches_the_program_and_may_be_handled(bench):
    wrote = []
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    container = await bench.start("/bin/sh", "-c", script, output=lambda _, chunk: wrote.append(chunk))
    await _until(lambda: wrote, "the trap is set")
    await container.signal(signal.SIGTERM)
    assert (await container.wait()).code == 9
    assert b"".join(wrote) == b"ready\ncaught\n"


async def test_signal_and_kill_after_the_end_do_nothing(bench):
    container = await bench.start("/bin/true")
    await container.wait()
    await container.signal(signal.SIGTERM)
    await container.kill()


async def test_many_may_wait_for_the_same_end(bench):
    container = await bench.start("/bin/sh", "-c", "exit 4")
    ends = await asyncio.gather(*(container.wait() for _ in range(3)))
    assert [end.code for end in ends] == [4, 4, 4]


async def test_a_program_that_is_not_there_is_an_error_that_names_it(bench):
    with pytest.raises(ContainerError, match="/no/such/program"):
        await bench.run("/no/such/program")


async def test_a_connection_reaches_a_server_inside_and_is_refused_where_none_listens(bench):
    wrote = []
    container = await bench.start(SYSTEM_PYTHON, "-c", SERVE, output=lambda _, chunk: wrote.append(chunk))
    await _until(lambda: wrote, "it listens")
    connection = await container.connect(23456)
    assert await asyncio.get_running_loop().sock_recv(connection, 10) == b"hi"
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        await container.connect(23457)
    await container.kill()


async def test_a_program_imports_from_the_layers_by_the_paths_inside(bench, layer):
    """PYTHONPATH names paths as a container sees them, /root and /pkg; the uppermost layer wins."""
    lower, upper = layer("lower"), layer("upper")
    for folder, text in ((lower, "lower"), (upper, "upper")):
        (folder / "root").mkdir()
        (folder / "root/mine.py").write_text(f"VALUE = '{text}'")
    (lower / "pkg").mkdir()
    (lower / "pkg/client.py").write_text("VALUE = 'client'")
    program = "import mine, client, pathlib; print(mine.VALUE, client.VALUE, pathlib.Path('mine.py').read_text())"
    ended = await bench.run(
        SYSTEM_PYTHON, "-c", program, layers=(lower, upper), cwd="/root", env={"PYTHONPATH": "/root:/pkg"}
    )
    assert ended.out == "upper client VALUE = 'upper'\n", ended.err


async def test_what_a_program_writes_in_its_folder_ends_up_in_no_layer(bench, layer):
    mine = layer("mine")
    (mine / "root").mkdir()
    ended = await bench.shell("echo x > new.txt && cat new.txt", layers=(mine,), cwd="/root")
    assert (ended.out, list((mine / "root").iterdir())) == ("x\n", [])


async def test_eight_containers_run_at_once(bench):
    ended = await asyncio.gather(*(bench.shell(f"sleep 0.1; echo {number}") for number in range(8)))
    assert [each.out for each in ended] == [f"{number}\n" for number in range(8)]


def _processes(word: str) -> list[int]:
    """Running processes with that word among their arguments."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            words = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
        except OSError:
            continue
        found += [int(path.name)] if word.encode() in words else []
    return found
