"""`pulumi preview` of the local stack against the same of an empty Python program, in turn.

. setup/activate && python benchmarks/preview.py --runs 10
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from spread import Spread, print_json, print_table

SOURCE = Path(__file__).resolve().parents[1]


def main(
    runs: Annotated[int, typer.Option(min=1)] = 10, *, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Preview both, in turn; the first preview of each fills caches and is left out."""
    with TemporaryDirectory() as folder:
        env = environment(Path(folder, "state"))
        projects = (empty(Path(folder, "empty")), local(Path(folder, "local")))
        for project in projects:
            pulumi(project, env, "stack", "init", "bench")
        pairs = [tuple(preview(project, env) for project in projects) for _ in range(runs + 1)][1:]
    figures = {
        "empty program": Spread([empty for empty, _ in pairs]),
        "local stack": Spread([local for _, local in pairs]),
        "ratio, pair by pair": Spread([local / empty for empty, local in pairs]),
    }
    (print_json if as_json else print_table)("pulumi preview: seconds", figures)


def preview(project: Path, env: dict[str, str]) -> float:
    """Seconds of one preview."""
    began = time.perf_counter()
    pulumi(project, env, "preview", "--stack", "bench")
    return time.perf_counter() - began


def empty(folder: Path) -> Path:
    """A project whose program declares nothing."""
    folder.mkdir()
    (folder / "__main__.py").write_text("import pulumi\n")
    return configured(folder)


def local(folder: Path) -> Path:
    """The project of this repository, with the services of its stack `local`."""
    (folder / "stacks").mkdir(parents=True)
    for part in ("components", "engines", "service", "spec", "__main__.py"):
        (folder / part).symlink_to(SOURCE / part)
    (folder / "stacks/Pulumi.bench.yaml").write_text((SOURCE / "stacks/Pulumi.local.yaml").read_text())
    return configured(folder)


def configured(folder: Path) -> Path:
    """The project file, with this Python's environment."""
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    project = {"name": folder.name, "runtime": runtime, "stackConfigDir": "stacks"}
    (folder / "Pulumi.yaml").write_text(json.dumps(project))
    return folder


def environment(state: Path) -> dict[str, str]:
    """A file backend of its own, and no look-up of newer versions."""
    state.mkdir()
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(state),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }


def pulumi(project: Path, env: dict[str, str], *arguments: str) -> None:
    """Runs a command; its output is only shown if it fails."""
    command = ["pulumi", *arguments, "--non-interactive"]
    done = subprocess.run(command, cwd=project, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    typer.run(main)
