"""docs/adding-an-engine.md, followed to the letter: the engine that it makes is deployed, restored and asked."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest
from pulumi_project import Project, environment

SOURCE = Path(__file__).parents[2]
PAGE = SOURCE / "docs/adding-an-engine.md"
BLOCK = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block of the page, under the name of the file that it belongs to."""


@pytest.fixture(scope="module")
def blocks():
    return dict(BLOCK.findall(PAGE.read_text()))


@pytest.fixture(scope="module")
def copy(daemon, tmp_path_factory, blocks):
    """A copy of this project, with what the page says put where it says."""
    folder = tmp_path_factory.mktemp("adding")
    project = Project(folder / "project", environment(daemon, folder), "words")
    for link in project.folder.iterdir():
        if link.is_symlink() and link.exists():
            part = link.resolve()
            link.unlink()
            (shutil.copytree if part.is_dir() else shutil.copyfile)(part, link)
    for name, text in blocks.items():
        if name == "spec/engines.py":
            subprocess.run(["git", "apply", "-"], cwd=project.folder, input=text, text=True, check=True)
        else:
            assert not (project.folder / name).exists()
            (project.folder / name).write_text(text)
    return project


@pytest.fixture(scope="module")
def words(copy):
    """The page's service, put up by the real Pulumi."""
    copy.pulumi("stack", "init")
    copy.up()
    yield copy.output("words")
    copy.pulumi("destroy", "--yes", "--skip-preview")


def test_the_page_has_one_file_one_model_and_one_row(blocks):
    assert [name for name in blocks if name.startswith(("engines/", "spec/"))] == [
        "spec/word_vectors.py",
        "engines/word_vectors.py",
        "spec/engines.py",
    ]
    row = blocks["spec/engines.py"].splitlines()
    assert sum(line.startswith("+") and not line.startswith("+++") for line in row) == 2  # its import is the other


def test_it_is_written_as_everything_else_is(copy):
    """In the style and with the types that `make test` asks for."""
    config, made = SOURCE / "pyproject.toml", ["engines/word_vectors.py", "spec/word_vectors.py", "spec/engines.py"]
    for check in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
        told = [sys.executable, "-m", *check, f"--config{'-file' if check == ['mypy'] else ''}", str(config), *made]
        done = subprocess.run(told, cwd=copy.folder, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_stack_file_that_mistypes_it_is_told_what_to_write(copy):
    program = (
        "from spec.stack import parse_stack\n"
        "weights = {'path': 'vectors.txt'}\n"
        "engine = {'kind': 'word_vector'}\n"
        "parse_stack({'services': [{'name': 'words', 'engine': engine, 'weights': weights}]})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=copy.folder, text=True, capture_output=True, check=False)
    assert 'Did you mean "word_vectors"?' in done.stderr


def test_its_snapshot_is_proved(words):
    assert words["snapshot"] == "verified"
    assert words["restores_in_a_row"] == 3


def test_it_answers_as_the_page_says(words):
    answer = httpx.post(f"{words['url']}/v1/embeddings", json={"input": "Hello moon"}, timeout=120).json()
    assert answer["data"][0]["embedding"] == [0.75, 0.25, 1.0]
    assert json.dumps(answer["data"][0]["embedding"]) in PAGE.read_text()


def test_openais_own_client_reads_it(words):
    with openai.OpenAI(base_url=f"{words['url']}/v1", api_key="unused", timeout=120) as client:
        answer = client.embeddings.create(model="words", input=["hello", "nothing known"])
    assert [one.embedding for one in answer.data] == [[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    assert answer.usage.prompt_tokens == 3


def test_it_refuses_as_every_engine_does(words):
    refused = httpx.post(f"{words['url']}/v1/embeddings", json={"input": 5}, timeout=120)
    assert refused.status_code == 400
    assert set(refused.json()["error"]) == {"message", "type", "param", "code"}


def test_what_it_did_is_counted(words):
    httpx.post(f"{words['url']}/v1/embeddings", json={"input": "moon moon"}, timeout=120)
    metrics = httpx.get(f"{words['url']}/metrics", timeout=120).text
    assert 'coldsnap_requests_total{path="/v1/embeddings",status="200"}' in metrics
    assert 'coldsnap_tokens_total{kind="prompt"}' in metrics
