"""The real client builds each of its kinds of image through the daemon."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import modal
import pytest
from modal.exception import ImageBuildError, NotFoundError
from modal_proto import api_pb2

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def client(daemon) -> Iterator[modal.Client]:
    credentials = daemon.env["MODAL_TOKEN_ID"], daemon.env["MODAL_TOKEN_SECRET"]
    with modal.Client(daemon.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


@pytest.fixture
def app(client) -> modal.App:
    return modal.App.lookup("images", create_if_missing=True, client=client)


@pytest.fixture(params=["2025.06", "2026.10"])
def builder(request, monkeypatch) -> str:
    monkeypatch.setenv("MODAL_IMAGE_BUILDER_VERSION", request.param)
    return request.param


def plain() -> modal.Image:
    """Debian's compilers are what takes long in `debian_slim`; one test builds that."""
    return modal.Image.from_registry(f"python:{PYTHON}-slim")


def test_debian_slim_and_each_way_to_go_on_from_it_builds(app, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("idna\n")
    image = (
        modal.Image.debian_slim(python_version=PYTHON)
        .apt_install("libgomp1")
        .pip_install("click")
        .uv_pip_install("six", requirements=[str(requirements)])
        .pip_install_from_requirements(str(requirements))
        .env({"A": "it's $HOME"})
        .workdir("/data")
        .add_local_file(tmp_path / "a.txt", "/data/a.txt", copy=True)
        .run_commands(
            "test $(cat a.txt) = a", """test "$A" = 'it'"'"'s $HOME'""", "python -c 'import click, six, idna'"
        )
        .dockerfile_commands("ARG X=1", "RUN test $X = 2", build_args={"X": "2"})
        .entrypoint([])
    )
    image.build(app)
    assert image.object_id.startswith("im-")
    assert image._get_metadata().workdir == "/data"
    assert image._get_metadata().python_version_info.startswith(f"Python {PYTHON}.")


def test_a_registrys_image_with_an_added_python_builds(app, builder):
    image = modal.Image.from_registry("nvidia/cuda:12.4.1-runtime-ubuntu22.04", add_python=PYTHON)
    image.run_commands("test $(command -v python) = /usr/local/bin/python").build(app)


def test_a_dockerfile_builds(app, builder, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    (tmp_path / "Dockerfile").write_text(
        f"# why\nFROM python:{PYTHON}-slim\nCOPY data /data\nRUN test \\\n -f /data/a.txt\n"
    )
    modal.Image.from_dockerfile(tmp_path / "Dockerfile", context_dir=tmp_path).build(app)


def test_an_environment_of_a_command_is_a_secret_and_another_run_reuses_the_image(client):
    def build() -> modal.Image:
        app = modal.App()
        with app.run(client=client):
            return plain().run_commands("test $TOKEN = s3cret", env={"TOKEN": "s3cret"}).build(app)

    assert build().object_id == build().object_id


def test_a_failing_command_reaches_the_user_with_its_last_lines(app):
    with pytest.raises(ImageBuildError) as failed:
        plain().run_commands("echo it went wrong; exit 3").build(app)
    assert "RUN echo it went wrong; exit 3\nexit code 3" in str(failed.value)
    assert str(failed.value).endswith("it went wrong")


def test_output_is_streamed_to_the_user(app, capfd):
    with modal.enable_output():
        plain().run_commands("echo seen by the user; date +%s%N").build(app)
    assert "seen by the user" in capfd.readouterr().out


def test_an_image_is_found_again_by_its_id_and_by_the_names_it_was_published_under(app, client):
    image = plain().run_commands("true").build(app)
    assert modal.Image.from_id(image.object_id, client=client).build(app).object_id == image.object_id
    image.publish("mine:v1", client=client)
    named = plain().run_commands("true && true")
    assert modal.Image.from_name("mine:v1").build(app).object_id == image.object_id
    with pytest.raises(NotFoundError):
        modal.Image.from_name("mine:v2").build(app)
    assert named.build(app).object_id != image.object_id


def test_a_deleted_image_is_not_found(app, client):
    image = plain().run_commands("true # deleted").build(app)
    modal.experimental.image_delete(image.object_id, client=client)
    with pytest.raises(NotFoundError):
        modal.Image.from_id(image.object_id, client=client).build(app)


@pytest.mark.parametrize("kind", ["micromamba", "scratch"])
def test_what_cannot_be_built_here_is_refused_in_words(app, kind):
    image = modal.Image.micromamba(PYTHON) if kind == "micromamba" else modal.Image.from_scratch()
    with pytest.raises(ImageBuildError, match="images are not pulled here"):
        image.build(app)


def test_the_output_of_a_build_can_be_read_later_that_of_its_bases_too(app, daemon):
    base = plain().run_commands("echo said by the base").build(app)
    image = base.run_commands("echo said by the image").build(app)
    environment = {**os.environ, **daemon.env, "COLUMNS": "200", "TERM": "dumb"}

    def logs(*options: str) -> str:
        command = [sys.executable, "-m", "modal", "image", "logs", image.object_id, *options]
        return subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout

    assert "said by the image\n" in logs()
    assert "said by the base\n" not in logs()
    assert "said by the base\n" in logs("--all")


def _until_the_daemon_is_gone(build, image) -> None:
    with contextlib.suppress(Exception):
        build(image)


def test_a_daemon_that_is_killed_in_the_middle_of_a_build_makes_it_whole_the_next_time(empty_home):
    def build(image: modal.Image) -> modal.Image:
        credentials = empty_home.env["MODAL_TOKEN_ID"], empty_home.env["MODAL_TOKEN_SECRET"]
        with modal.Client(empty_home.env["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
            return image.build(modal.App.lookup("images", create_if_missing=True, client=client))

    empty_home.start()
    image = plain().run_commands("echo half; sleep 5; echo whole > /usr/local/share/whole")
    threading.Thread(target=_until_the_daemon_is_gone, args=(build, image), daemon=True).start()
    logs = empty_home.paths.logs
    while not any('"half\\n"' in path.read_text() for path in logs.glob("*.jsonl")):
        time.sleep(0.05)
    empty_home.kill()
    empty_home.start()
    again = build(plain().run_commands("echo half; sleep 5; echo whole > /usr/local/share/whole"))
    build(again.run_commands("grep whole /usr/local/share/whole"))
