"""What is read from a Dockerfile's lines, and what is refused."""

import pytest

from localmodal.images import bases, dockerfile
from localmodal.images.config import ImageConfig, ImageError


def configured(*lines, given=None):
    config = ImageConfig()
    for instruction in dockerfile.parse(["FROM base", *lines])[1:]:
        config = dockerfile.configured(instruction, config, given or {})
    return config


def only(line):
    return dockerfile.parse(["FROM base", line])[1]


def test_env_keeps_what_is_quoted_and_puts_variables_in():
    config = configured(
        "ENV A='x y'", """ENV B='it'"'"'s $HOME'""", "ENV PATH=/.uv/.venv/bin:$PATH", "ENV OLD form of it"
    )
    assert config.env["A"] == "x y"
    assert config.env["B"] == "it's $HOME"
    assert config.env["PATH"] == f"/.uv/.venv/bin:{ImageConfig().env['PATH']}"
    assert config.env["OLD"] == "form of it"


def test_a_build_argument_takes_what_is_given_else_its_default():
    lines = ("ARG WHAT=default", "ENV GOT=$WHAT")
    assert configured(*lines).env["GOT"] == "default"
    assert configured(*lines, given={"WHAT": "given"}).env["GOT"] == "given"
    assert "UNKNOWN" not in configured(*lines, given={"UNKNOWN": "1"}).args


def test_a_relative_working_folder_goes_on_from_the_last_one():
    assert configured("WORKDIR '/a b'", "WORKDIR c").workdir == "/a b/c"


def test_the_last_entrypoint_command_and_user_count():
    config = configured('ENTRYPOINT ["/x", "-y"]', "ENTRYPOINT []", 'CMD ["sleep", "1"]', "USER nobody:nogroup")
    assert (config.entrypoint, config.cmd, config.user) == ((), ("sleep", "1"), "nobody:nogroup")


def test_a_configuration_survives_the_database():
    config = configured('CMD ["sleep", "1"]', "ENV A=1", "WORKDIR /w")
    assert ImageConfig.load(config.dump()) == config


def test_lines_that_go_on_are_one_command():
    run = dockerfile.parse(["FROM base", "RUN cd /tmp && \\ ", "  # why", "  true && \\ ", "false"])[1]
    assert dockerfile.command_of(run, ImageConfig()) == ("/bin/sh", "-c", "cd /tmp &&   true && false")


def test_run_uses_the_shell_that_was_chosen_and_none_for_a_list():
    config = configured('SHELL ["/bin/bash", "-ec"]')
    assert dockerfile.command_of(only("RUN a && b"), config) == ("/bin/bash", "-ec", "a && b")
    assert dockerfile.command_of(only('RUN ["a", "$b"]'), config) == ("a", "$b")


def test_copy_reads_its_flags_and_makes_its_destination_absolute():
    config = configured("WORKDIR /w")
    assert dockerfile.copy_of(only("COPY --chmod=755 --chown=1:2 a b c/"), config) == dockerfile.Copy(
        ("a", "b"), "/w/c/", "", "755", "1:2"
    )
    assert (
        dockerfile.copy_of(only("COPY --from=ghcr.io/astral-sh/uv:latest /uv /.uv/uv"), config).destination == "/.uv/uv"
    )
    assert dockerfile.copy_of(only("COPY . ."), config).destination == "/w/"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("HEALTHCHECK NONE", "HEALTHCHECK"),
        ("ADD https://example.org/x /x", "ADD"),
        ("ONBUILD RUN true", "ONBUILD"),
    ],
)
def test_an_instruction_that_is_not_known_is_refused_by_name_with_its_line(line, names):
    with pytest.raises(ImageError, match=rf"line 2: {names} .*\n{names} is not served"):
        configured(line)


@pytest.mark.parametrize("line", ["RUN --mount=type=cache,target=/x true", "RUN cat <<EOF > /x", "COPY --parents a b"])
def test_what_an_instruction_cannot_do_is_refused_with_its_line(line):
    read = dockerfile.copy_of if line.startswith("COPY") else dockerfile.command_of
    with pytest.raises(ImageError, match=r"line 2: [^\n]+\n.* not served"):
        read(only(line), ImageConfig())


def test_several_stages_are_refused():
    with pytest.raises(ImageError, match="line 3: FROM b"):
        dockerfile.parse(["FROM a AS x", "RUN true", "FROM b"])


@pytest.mark.parametrize(
    ("reference", "series"),
    [
        ("python:3.11.12-slim-bookworm", "3.11"),
        ("python:3.13-slim-trixie", "3.13"),
        ("docker.io/library/python:3.12", "3.12"),
        ("nvidia/cuda:12.4.1-runtime-ubuntu22.04", None),
        ("debian:12@sha256:0123", None),
    ],
)
def test_an_image_of_a_registry_is_known_by_its_name_and_its_python(reference, series):
    assert bases.series_of(reference) == series


@pytest.mark.parametrize("reference", ["node:20", "mambaorg/micromamba:2.1.1-debian12-slim", "scratch"])
def test_an_image_that_this_machine_cannot_stand_for_is_refused_by_name(reference):
    with pytest.raises(ImageError, match=f"FROM {reference}: images are not pulled here"):
        bases.series_of(reference)


def test_a_standalone_python_is_known_by_the_name_of_its_mount():
    assert bases.series_of_mount("python-build-standalone.20230826.3.11.5-gnu") == ("3.11", False)
    assert bases.series_of_mount("python-build-standalone.20261021.3.14.9t-gnu") == ("3.14t", True)
    assert bases.series_of_mount("") is None
