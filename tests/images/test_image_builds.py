"""Images are really built, in containers and without: each line's effect is looked at from inside."""

import asyncio
import hashlib
import json
import sys

from modal_proto import api_pb2
from workshop import PLAIN, SERIES


async def test_the_images_python_is_of_the_asked_series_and_has_nothing_of_this_machines_packages(workshop):
    image = await workshop.build(*PLAIN)
    program = (
        "import json, sys; from importlib import metadata;"
        "print(json.dumps([sys.version_info[:2], sys.prefix, [d.name for d in metadata.distributions()]]))"
    )
    version, prefix, packages = json.loads(await workshop.python(image, program))
    assert version == list(sys.version_info[:2])
    assert prefix.endswith("/usr/local")
    assert packages == ["pip"]
    assert image.built.config.python_series == SERIES


async def test_python_and_pip_by_name_are_the_images_own(workshop):
    image = await workshop.build(
        *PLAIN, "RUN for name in python python3 pip; do command -v $name; done > /usr/local/found"
    )
    prefix = await workshop.python(image, "import sys; print(sys.prefix)")
    found = await workshop.python(image, "import sys; print(open(sys.prefix + '/found').read())")
    assert found.split() == [f"{prefix}/bin/{name}" for name in ("python", "python3", "pip")]


async def test_a_layer_on_top_of_a_pip_layer_sees_and_may_replace_what_is_below(workshop):
    base = await workshop.build(*PLAIN, "RUN python -m pip install six==1.16.0")
    above = await workshop.build("FROM base", "RUN python -m pip install six==1.17.0 click", base=base.id)
    version = "import six; print(six.__version__)"
    assert await workshop.python(above, version) == "1.17.0"
    assert await workshop.python(base, version) == "1.16.0"


async def test_uv_comes_from_its_package_and_installs_into_the_images_python(workshop):
    image = await workshop.build(
        *PLAIN,
        "COPY --from=ghcr.io/astral-sh/uv:latest /uv /.uv/uv",
        "COPY /.0_requirements.txt /.uv/0/requirements.txt",
        "RUN /.uv/uv pip install --python $(command -v python) --compile-bytecode"
        " --requirements /.uv/0/requirements.txt click",
        files={"/.0_requirements.txt": "idna\n"},
    )
    assert await workshop.python(image, "import click, idna; print('both')") == "both"


async def test_uv_makes_an_environment_of_the_images_python_and_its_path_comes_first(workshop):
    project = '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.10"\ndependencies = ["idna"]\n'
    image = await workshop.build(
        *PLAIN,
        "COPY --from=ghcr.io/astral-sh/uv:latest /uv /.uv/uv",
        "COPY /.pyproject.toml /.uv/pyproject.toml",
        "RUN /.uv/uv sync --project=/.uv --no-install-workspace --compile-bytecode",
        "ENV PATH=/.uv/.venv/bin:$PATH",
        files={"/.pyproject.toml": project},
    )
    program = "import idna, json, sys; print(json.dumps([sys.prefix, sys.version.split()[0]]))"
    prefix, version = json.loads(await workshop.python(image, program))
    assert prefix.endswith("/.uv/.venv")
    assert version == image.built.config.python_version


async def test_environment_working_folder_and_entrypoint_are_told_to_whoever_starts_a_container(workshop):
    image = await workshop.build(
        *PLAIN, "ENV A='x y' PREFIX=/usr/local/share", "WORKDIR /root/w", 'ENTRYPOINT ["/x"]', 'CMD ["sleep", "1"]'
    )
    prefix = await workshop.python(image, "import sys; print(sys.prefix)")
    config = await workshop.images.config(image.id)
    assert config.env["A"] == "x y"
    assert config.env["PREFIX"] == f"{prefix}/share"
    assert config.workdir.endswith("/root/w")
    assert (config.entrypoint, config.cmd) == (("/x",), ("sleep", "1"))


async def test_a_relative_write_lands_in_the_working_folder(workshop):
    image = await workshop.build(*PLAIN, "WORKDIR /usr/local/share/new", "RUN echo here > file")
    assert await workshop.python(image, "import sys; print(open(sys.prefix + '/share/new/file').read())") == "here"


async def test_files_sent_along_and_files_of_the_context_mount_are_copied(workshop):
    sha256 = hashlib.sha256(b"of the mount").hexdigest()
    workshop.contents.put(b"of the mount", sha256)
    mount, _ = workshop.mounts.create([api_pb2.MountFile(filename="/root/pack/a.txt", sha256_hex=sha256, mode=0o640)])
    image = await workshop.build(*PLAIN, "COPY . /", context_mount_id=mount)
    sent = await workshop.build(
        "FROM base", "COPY /.in.txt /usr/local/share/", base=image.id, files={"/.in.txt": "sent"}
    )
    root = str((await workshop.images.layers(sent.id))[-1]) if workshop.images._files.kind == "process" else ""
    program = f"import os; path = '{root}/root/pack/a.txt'; print(open(path).read(), oct(os.stat(path).st_mode)[-3:])"
    assert await workshop.python(sent, program) == "of the mount 640"
    assert await workshop.python(sent, "import sys; print(open(sys.prefix + '/share/.in.txt').read())") == "sent"


async def test_a_file_that_is_not_in_the_context_is_named(workshop):
    error = await workshop.failure(*PLAIN, "COPY missing.txt /usr/local/")
    assert error == "line 2: COPY missing.txt /usr/local/\nmissing.txt is not in the build's context"


async def test_a_path_out_of_the_context_leads_nowhere(workshop):
    assert "is not in the build's context" in await workshop.failure(*PLAIN, "COPY ../../etc/hostname /usr/local/")


async def test_secrets_and_build_arguments_are_in_the_environment_of_commands_and_not_in_the_image(workshop):
    image = await workshop.build(
        *PLAIN, "ARG WHAT=no", 'RUN test "$WHAT" = given && env | grep -c WHAT', build_args={"WHAT": "given"}
    )
    assert "WHAT" not in (await workshop.images.config(image.id)).env
    assert "WHAT" not in await workshop.shell(image, "env")


async def test_a_failing_command_is_named_with_its_code_and_its_last_lines(workshop):
    error = await workshop.failure(*PLAIN, "RUN echo first; echo 'it went wrong' >&2; exit 7")
    assert "line 2: RUN echo first; echo 'it went wrong' >&2; exit 7\nexit code 7\n" in error
    assert error.endswith("it went wrong")
    assert workshop.half_made() == []


async def test_a_failed_image_is_built_anew_when_it_is_asked_for_again(workshop, tmp_path):
    lines = (*PLAIN, "RUN python -c 'import os, sys; sys.exit(not os.path.exists(\"/usr/local/share/good\"))'")
    first = workshop.request(*lines)
    assert (await workshop.images.wait(first.id)).error
    again = workshop.request(*lines)
    assert again.id == first.id
    assert again.error is None, "its build runs"
    await workshop.images.wait(again.id)


async def test_an_instruction_that_is_not_known_ends_the_build_with_its_line(workshop):
    error = await workshop.failure(*PLAIN, "RUN true", "HEALTHCHECK NONE")
    assert error.startswith("line 3: HEALTHCHECK NONE\nHEALTHCHECK is not served by the local builder")
    assert workshop.half_made() == []


async def test_a_python_that_this_machine_lacks_is_refused_with_those_that_it_has(workshop):
    error = await workshop.failure("FROM python:3.99-slim")
    assert "this machine has no Python 3.99 for the image; it has " in error
    assert SERIES in error


async def test_the_same_lines_are_the_same_image_and_are_not_run_again(workshop):
    lines = (*PLAIN, "RUN python -c 'import random; print(random.random())'")
    first = await workshop.build(*lines)
    again = workshop.request(*lines)
    assert again == first
    assert (await workshop.build(*lines, "RUN true")).id != first.id


async def test_force_build_runs_the_lines_again_and_is_what_the_next_one_gets(workshop):
    lines = (*PLAIN, "RUN echo forced")
    first = await workshop.build(*lines)
    forced = await workshop.build(*lines, force_build=True)
    assert forced.id != first.id
    assert (await workshop.build(*lines)).id == forced.id


async def test_ignore_cache_builds_again_and_leaves_the_known_image_where_it_is(workshop):
    lines = (*PLAIN, "RUN echo ignored")
    first = await workshop.build(*lines)
    assert (await workshop.build(*lines, ignore_cache=True)).id != first.id
    assert (await workshop.build(*lines)).id == first.id


async def test_two_who_ask_at_once_get_one_build_and_all_of_its_output(workshop):
    lines = (*PLAIN, "RUN echo one of two; sleep 0.2")
    records = [workshop.request(*lines) for _ in range(2)]
    outputs = await asyncio.gather(*(workshop.output(record) for record in records))
    assert records[0].id == records[1].id
    assert outputs[0] == outputs[1]
    assert outputs[0].count("one of two\n") == 1, "beside the line itself"


async def test_output_comes_while_the_command_runs_and_goes_on_where_a_reader_left(workshop):
    record = workshop.request(*PLAIN, "RUN echo one; read line < /dev/null; sleep 0.3; echo two")
    read = 0
    async for offset, entry in workshop.images.follow(record.id, 0):
        read = offset
        if entry.text == "one\n":
            break
    assert (await asyncio.wait_for(asyncio.shield(workshop.images.wait(record.id)), 60)).built
    rest = "".join([entry.text async for _, entry in workshop.images.follow(record.id, read)])
    assert rest.startswith("two")


async def test_a_follower_that_goes_away_hurts_no_build(workshop):
    record = workshop.request(*PLAIN, "RUN sleep 0.3; echo done")
    follower = asyncio.create_task(workshop.output(record))
    await asyncio.sleep(0)
    follower.cancel()
    assert (await workshop.images.wait(record.id)).built


async def test_a_gpu_and_a_build_function_are_refused_by_name(workshop):
    assert "asks for a L40S" in await workshop.failure(*PLAIN, gpu_config=api_pb2.GPUConfig(gpu_type="L40S"))
    assert "run_function" in await workshop.failure(build_function=api_pb2.BuildFunction(definition="x"))
