"""Images without containers: environments of plain processes."""

import pytest
from workshop import PLAIN

from localmodal.images.config import ImageConfig
from localmodal.images.layers import Command, CommandError
from localmodal.images.system_lines import without_system_commands

MISSING = "no-such-package-anywhere"


def command(line, *, in_base=False):
    return Command(("/bin/sh", "-c", line), ImageConfig(), {}, (), in_base)


async def left_of(line, **more):
    said = bytearray()
    left = await without_system_commands(command(line, **more), lambda _, data: said.extend(data))
    return left and left[-1], said.decode()


async def test_packages_that_are_there_are_named_and_skipped():
    left, said = await left_of("apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y coreutils dpkg")
    assert left is None
    assert "skipped, since there are no containers (what it brings is there): DEBIAN_FRONTEND" in said


async def test_a_package_that_is_missing_is_an_error_that_names_it():
    with pytest.raises(CommandError, match=f"{MISSING} must be installed on this machine first"):
        await left_of(f"apt-get install -y coreutils {MISSING}=1.0")


async def test_a_package_that_only_the_base_image_wants_is_named_and_skipped():
    left, said = await left_of(f"apt-get install -y {MISSING}", in_base=True)
    assert left is None
    assert f"not here, and not needed by everyone: {MISSING}" in said


async def test_the_rest_of_a_line_is_run():
    left, _ = await left_of("apt-get update && echo one && rm -rf /var/lib/apt/lists/*")
    assert left == "echo one && rm -rf /var/lib/apt/lists/*"
    quoted = """python -c 'import sys; print("a && b" if 1 else 2)' 2>&1"""
    assert (await left_of(f"{quoted}; apt-get update && {quoted} & wait; echo c"))[0] == (
        f"{quoted} && {quoted} & wait ; echo c"
    )
    assert await left_of("echo 'debconf a select b' | debconf-set-selections") == (
        None,
        (
            "skipped, since there are no containers (what it brings is there): echo 'debconf a select b' |"
            " debconf-set-selections\n"
        ),
    )
    assert await left_of("echo apt-get is only a word") == ("echo apt-get is only a word", "")


async def test_usr_local_of_a_line_means_the_environments_prefix(processes):
    image = await processes.build(
        *PLAIN, "RUN mkdir -p /usr/local/share/weights && echo w > /usr/local/share/weights/a.gguf"
    )
    program = "import pathlib, sys; print((pathlib.Path(sys.prefix) / 'share/weights/a.gguf').read_text())"
    assert await processes.python(image, program) == "w"
    above = await processes.build("FROM base", "RUN python -m pip install --no-deps idna", base=image.id)
    assert await processes.python(above, program) == "w"


async def test_an_image_changes_no_file_of_its_base(processes):
    base = await processes.build(*PLAIN, "RUN echo base > /usr/local/share/note")
    await processes.build("FROM base", "RUN echo above >> /usr/local/share/note", base=base.id)
    assert await processes.python(base, "import sys; print(open(sys.prefix + '/share/note').read())") == "base"


async def test_a_copy_to_where_only_root_may_write_is_refused(processes):
    error = await processes.failure(*PLAIN, "COPY a.txt /etc/a.txt", files={"a.txt": "a"})
    assert "/etc/a.txt cannot be written to: without containers only" in error


async def test_scripts_of_the_base_start_the_new_images_python(processes):
    base = await processes.build(*PLAIN, "RUN python -m pip install --no-deps click")
    image = await processes.build("FROM base", "RUN pip --version > /usr/local/share/which", base=base.id)
    prefix = await processes.python(image, "import sys; print(sys.prefix)")
    assert prefix in await processes.python(image, "import sys; print(open(sys.prefix + '/share/which').read())")


async def test_a_line_that_writes_to_this_machines_own_files_fails_and_leaves_nothing(
    processes, tmp_path, needs_landlock
):
    lines = ("ARG OUTSIDE", "RUN dd if=/dev/zero of=$OUTSIDE/big bs=1M count=1")
    error = await processes.failure(*PLAIN, *lines, build_args={"OUTSIDE": str(tmp_path)})
    assert "exit code 1: without containers only /usr/local, /root and /tmp can be written to" in error
    assert f"failed to open '{tmp_path}/big': Permission denied" in error
    assert list(tmp_path.iterdir()) == []


async def test_a_line_that_fails_for_another_reason_says_nothing_of_paths(processes):
    assert "without containers" not in await processes.failure(*PLAIN, "RUN echo wrong; exit 3")


async def test_a_line_may_write_to_the_images_own_folders_and_the_next_one_finds_it(processes):
    image = await processes.build(
        *PLAIN,
        "COPY a.txt /tmp/a.txt",
        "RUN mv /tmp/a.txt /usr/local/share/a.txt && echo x > /tmp/later && echo home > ~/.note",
        "RUN mv /tmp/later /root/later && test -w $TMPDIR && test ! -e /tmp/later",
        files={"a.txt": "a"},
    )
    program = "import pathlib, sys; print((pathlib.Path(sys.prefix) / 'share/a.txt').read_text())"
    assert await processes.python(image, program) == "a"
    assert await processes.shell(image, "cat ~/.note ~/later") == "home\nx"


async def test_requirements_lie_where_the_client_puts_them(processes):
    """As `pip_install_from_requirements` does, in the uppermost folder."""
    lines = ("COPY /.requirements.txt /.requirements.txt", "RUN python -m pip install -r /.requirements.txt")
    image = await processes.build(*PLAIN, *lines, files={"/.requirements.txt": "idna\n"})
    assert await processes.python(image, "import idna; print(idna.__name__)") == "idna"
