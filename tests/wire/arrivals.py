"""What has arrived at a control plane that records, of one service, in a form that can be compared with a promise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_CLIENTS_OWN = (
    *("FROM ", "CMD ", "COPY /python/. /usr/local", "ENTRYPOINT []", "ENV TERMINFO_DIRS=", "RUN ln -s /usr/local/bin/"),
    *("RUN apt-get update", "RUN apt-get install -y gcc gfortran build-essential", "RUN pip install --upgrade pip"),
    "RUN echo 'debconf ",
)
"""Lines that the client adds to `from_registry`, `debian_slim` and `apt_install`."""


@dataclass(frozen=True)
class Arrivals:
    """What `python -m localmodal recorded` prints."""

    recorded: dict[str, Any]

    def app(self, name: str) -> dict[str, Any]:
        """The app of that name that arrived last."""
        return self._apps(name)[-1]

    def _apps(self, name: str) -> list[dict[str, Any]]:
        return [app for app in self.recorded["apps"] if app["name"] == name]

    def arrived(self, name: str) -> dict[str, Any]:
        """All that was sent of a service."""
        app = self.app(name)
        return {
            "owner": app["tags"]["coldsnap-owner"],
            "service": self._service(app, "Service.*"),
            "twin": self._service(app, "Twin.*"),
            "fetch": self._fetch(name) if self._apps(f"{name}-weights-fetch") else None,
        }

    def spec(self, app: dict[str, Any]) -> dict[str, Any]:
        """What a service's containers are told of themselves."""
        return dict(json.loads(self._env(_functions(app, "Service.*")[0])["COLDSNAP_SPEC"])["definition"])

    def task(self, name: str) -> dict[str, Any]:
        """What the function that fetches a service's weights is told."""
        (fill,) = _functions(self.app(f"{name}-weights-fetch"), "fill")
        return dict(json.loads(self._env(fill)["COLDSNAP_WEIGHTS"]))

    def _service(self, app: dict[str, Any], tag: str) -> dict[str, Any]:
        choices = _functions(app, tag)
        told = json.loads(self._env(choices[0])["COLDSNAP_SPEC"])["definition"]
        scaling = choices[0]["autoscaler_settings"]
        env = self._env(choices[0])
        return {
            **self._machine(choices),
            "milli_cpu": choices[0]["resources"]["milli_cpu"],
            "memory_mb": choices[0]["resources"]["memory_mb"],
            "startup_timeout": choices[0]["startup_timeout_secs"],
            "env": {name: value for name, value in env.items() if name != "COLDSNAP_SPEC"},
            "memory_snapshot": choices[0].get("checkpointing_enabled", False),
            "gpu_snapshot": choices[0].get("experimental_options", {}).get("enable_gpu_snapshot"),
            "min_containers": scaling["min_containers"],
            "max_containers": scaling["max_containers"],
            "buffer_containers": scaling.get("buffer_containers", 0),
            "scaledown_window": scaling["scaledown_window"],
            "concurrency": choices[0].get("max_concurrent_inputs"),
            "web": {name: _web(one) for name, one in _methods(choices[0]) if "webhook_config" in one},
            "engine": told["engine"]["kind"],
            "options": told["engine"]["options"],
            "prompt_tokens": told["prompt_tokens"],
            "weights_file": told["weights_file"],
        }

    def _fetch(self, name: str) -> dict[str, Any]:
        choices, source = _functions(self.app(f"{name}-weights-fetch"), "fill"), self.task(name)["source"]
        return {
            **self._machine(choices),
            "max_containers": choices[0]["autoscaler_settings"]["max_containers"],
            "source": {name: source[name] for name in ("huggingface", "revision", "files") if name in source},
        }

    def _machine(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """What it runs on and with: the same for every GPU that would do, but for the GPU."""
        first = choices[0]
        assert all(_without_gpu(one) == _without_gpu(first) for one in choices)
        return {
            "gpus": [_gpu(one) for one in choices if one["resources"]["gpu_config"]],
            "region": first.get("scheduler_placement"),
            "volumes": {one["mount_path"]: self._volume(one) for one in first["volume_mounts"]},
            "secrets": [secret["name"] for secret in self._secrets(first) if "name" in secret],
            "timeout": first["timeout_secs"],
            "image": self.image(first["image_id"]),
            "code": self._code(first),
        }

    def image(self, image_id: str) -> dict[str, Any]:
        """An image, its bases included."""
        chain = list(self._chain(image_id))
        lines = [line for image in chain for line in image["dockerfile_commands"]]
        base = lines[0].removeprefix("FROM ")
        mount = self.recorded["mounts"].get(chain[0].get("context_mount_id"), {}).get("name", "")
        python = mount.split(".", 2)[2] if mount else base.removeprefix("python:")
        return {
            "base": base,
            "python": ".".join(python.split(".")[:2]),
            "lines": [line for line in lines if not line.startswith(_CLIENTS_OWN)],
            "secrets": [
                self.recorded["secrets"][one]["name"] for image in chain for one in image.get("secret_ids", [])
            ],
        }

    def _chain(self, image_id: str) -> list[dict[str, Any]]:
        image = self.recorded["images"][image_id]
        return [layer for base in image.get("base_images", []) for layer in self._chain(base["image_id"])] + [image]

    def _volume(self, mount: dict[str, Any]) -> tuple[str, str]:
        return self.recorded["volumes"][mount["volume_id"]], "ro" if mount.get("read_only") else "rw"

    def _secrets(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.recorded["secrets"][one] for one in message.get("secret_ids", [])]

    def _env(self, function: dict[str, Any]) -> dict[str, str]:
        given = [secret["environment"] for secret in self._secrets(function) if "environment" in secret]
        return {name: value for variables in given for name, value in variables.items()}

    def _code(self, function: dict[str, Any]) -> list[str]:
        files = [file for one in function["mount_ids"] for file in self.recorded["mounts"][one].get("files", [])]
        return sorted({file.split("/")[1] for file in files})


def differences(promise: Any, arrival: Any, path: str = "") -> set[str]:
    """Where the two are not the same. Of an engine's options those count that the stack file names."""
    if not isinstance(promise, dict) or not isinstance(arrival, dict):
        return set() if promise == arrival else {path}
    names = promise.keys() if path.endswith(".options") else promise.keys() | arrival.keys()
    found = [differences(promise.get(name), arrival.get(name), f"{path}.{name}".strip(".")) for name in names]
    return set().union(*found)


def _functions(app: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """A definition for each GPU that would do, in the order in which they are tried."""
    return [one["function"] for one in app["functions"][tag]["ranked_functions"]]


def _without_gpu(function: dict[str, Any]) -> dict[str, Any]:
    return {**function, "resources": {**function["resources"], "gpu_config": {}}}


def _gpu(function: dict[str, Any]) -> tuple[str, int]:
    config = function["resources"]["gpu_config"]
    return config["gpu_type"], config["count"]


def _methods(function: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(function["method_definitions"].items())


def _web(method: dict[str, Any]) -> dict[str, Any]:
    config = method["webhook_config"]
    return {
        "kind": config["type"],
        "label": config["requested_suffix"],
        "proxy_auth": config.get("requires_proxy_auth", False),
    }
