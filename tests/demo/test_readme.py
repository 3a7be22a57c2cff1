"""The README, tried as a new user does: every command that it names, the demo first and the clean-up last."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from left_behind import left_behind
from real_daemon import make_home

from localmodal.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
TRIED_ELSEWHERE = {
    "make demo": "by the first two tests",
    "make test": "by whoever runs this test",
    ". setup/activate": "before every command",
}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the demo's containers need root")


@dataclass
class User:
    """Somebody with a clone, and a home that shares only the machine's tools and caches."""

    home: Path

    def run(self, command: str, folder: Path = SOURCE) -> str:
        """What a command prints; it succeeds."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "PULUMI_"))}
        done = subprocess.run(
            ["sh", "-ec", f". setup/activate; {command}"],
            cwd=folder,
            env={**env, "COLDSNAP_HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    user = User(make_home(tmp_path_factory.mktemp("readme")))
    yield user
    if user.home.exists():
        user.run("python -m localmodal destroy")


def test_the_demo_ends_with_an_answer_and_the_figures(user: User) -> None:
    printed = user.run("make demo")

    assert re.search(r"Water is made of", printed)
    assert re.search(r"imports +[\d.]+ s", printed)
    assert re.search(r"cold █+ [\d.]+ s\n +restored █+ [\d.]+ s", printed)
    assert re.search(r"[\d.]+ x faster to the first answer; 3 restores in a row proved it", printed)


def test_a_second_demo_changes_nothing_and_a_restored_container_answers(user: User) -> None:
    user.run("coldsnap local stop")

    printed = user.run("make demo")

    assert re.search(r"Resources:\n +\d+ unchanged\n", printed)
    assert re.findall(r"answered by (.*)", printed)[0].startswith("a restored container")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in TRIED_ELSEWHERE])
def test_every_command_of_the_readme_works(user: User, command: str) -> None:
    user.run(command)


def test_cleaning_leaves_nothing(user: User, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    files = subprocess.run(["git", "ls-files"], cwd=SOURCE, text=True, capture_output=True, check=True).stdout
    for file in filter(None, files.splitlines()):
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / file, clone / file)
    (clone / ".venv").symlink_to(sys.prefix)  # the link is removed, not what it leads to

    user.run("make clean", clone)

    assert not user.home.exists()
    assert not (clone / ".venv").is_symlink()
    assert left_behind(Home(user.home / "local"), closed=True) == {}
