"""Each of the four stacks through `pulumi up` to a control plane that records: what arrives is what the stack says."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import httpx
import modal
import pytest
import yaml
from arrivals import differences
from promises import STACKS, promised, service_of, stack_file
from real_daemon import Daemon
from recorder import TOKEN, project_of

if TYPE_CHECKING:
    from pathlib import Path

    from arrivals import Arrivals
    from pulumi_project import Project
    from recorder import Recorder, Sent

REFUSED = "this control plane records; nothing is built or runs here."
PARTS = ("owner", "service", "twin", "fetch")
each_stack = pytest.mark.parametrize("stack", STACKS)


@pytest.fixture
def arrivals(sent: Sent) -> Arrivals:
    return sent.arrivals


def state_of(project: Project) -> dict[str, dict[str, Any]]:
    """The outputs of every resource that was made, by its type."""
    resources = json.loads(project.pulumi("stack", "export"))["deployment"]["resources"]
    return {one["type"].rpartition(":")[2]: one.get("outputs", {}) for one in resources}


@each_stack
def test_what_arrives_is_what_the_stack_promises(arrivals: Arrivals, stack: str) -> None:
    service = service_of(stack_file(stack))
    promise, arrived = promised(service, stack), arrivals.arrived(service["name"])
    assert differences(promise, arrived) == set(), arrived


@each_stack
def test_the_version_is_that_of_pulumis_state_and_reads_the_weights_that_were_asked_for(
    sent: Sent, arrivals: Arrivals, stack: str
) -> None:
    name = service_of(stack_file(stack))["name"]
    app, made, told = arrivals.app(name), state_of(sent.projects[stack]), arrivals.spec(arrivals.app(name))
    deployed = made["GpuDeployment"]
    assert [app["tag"], app["version"]] == [deployed["definition"], deployed["version"]]
    assert told["image_id"] == made["CudaRuntimeImage"]["image_id"] == deployed["image_id"]
    assert told["weights_folder"] == arrivals.task(name)["folder"] == app["tags"]["coldsnap-weights"]
    assert "SnapshotWarmup" not in made


@each_stack
def test_an_update_ends_where_it_needs_a_container_and_says_so(sent: Sent, stack: str) -> None:
    first, second = sent.first[stack], sent.second[stack]
    assert "Recorded, not built:" in first
    assert f"error: Failure: fill: {REFUSED}" in first
    assert "GpuDeployment" not in first
    assert f"error: Failure: Service.*: {REFUSED}" in second
    assert "Traceback" not in first + second


def test_a_request_is_refused_in_words(sent: Sent) -> None:
    answer = httpx.get(state_of(sent.projects["gemma-4-26b"])["GpuDeployment"]["url"], timeout=60)
    assert answer.status_code == 500
    assert f"Service.*: {REFUSED}" in answer.text


def test_how_a_service_scales_is_written_down_without_a_container(client: modal.Client, sent: Sent) -> None:
    start = modal.Cls.from_name("gemma-4-26b", "Service", client=client)().start
    start.autoscaler.update(max_containers=3, min_containers=1)
    assert start.autoscaler.settings().max_containers == 3


def test_a_control_plane_that_runs_its_apps_has_no_recording(recorder: Recorder) -> None:
    refused = Daemon(recorder.home).verb("recorded")
    assert refused.returncode == 1
    assert "With COLDSNAP_RECORD=1 another one records." in refused.stderr


def test_no_image_says_that_it_was_built(arrivals: Arrivals) -> None:
    states = {(image["recorded"], image["built"]) for image in arrivals.recorded["images"].values()}
    assert states == {(True, False)}


def test_a_secrets_value_is_nowhere_but_in_the_secret(recorder: Recorder, sent: Sent, arrivals: Arrivals) -> None:
    assert {"name": "huggingface", "variables": ["HF_TOKEN"]} in arrivals.recorded["secrets"].values()
    told = [json.dumps(arrivals.recorded), *sent.first.values(), *sent.second.values()]
    assert not [text for text in told if TOKEN in text]
    files = [path for folder in (recorder.paths.root, sent.state) for path in folder.rglob("*") if path.is_file()]
    holders = [path.name for path in files if TOKEN.encode() in path.read_bytes()]
    assert set(holders) <= {"state.db", "state.db-wal"}
    assert sent.state / ".pulumi" in {parent for path in files for parent in path.parents}


CHANGES: dict[str, tuple[str, Any, set[str]]] = {
    "another GPU": ("gpu", "H100", {"service.gpus", "twin.gpus"}),
    "several GPUs": ("gpu", ["L40S", "H100"], {"service.gpus", "twin.gpus"}),
    "more cores": ("cpu", 9, {"service.milli_cpu", "twin.milli_cpu"}),
    "more memory": ("memory", 50000, {"service.memory_mb", "twin.memory_mb"}),
    "no snapshot": ("snapshot.enabled", False, {"service.memory_snapshot", "service.gpu_snapshot"}),
    "no GPU snapshot": ("snapshot.gpu", False, {"service.gpu_snapshot"}),
    "another window": ("scaling.scaledown_window", 77, {"service.scaledown_window"}),
    "fewer containers": ("scaling.max_containers", 1, {"service.max_containers"}),
    "one kept warm": ("scaling.min_containers", 1, {"service.min_containers"}),
    "one in reserve": ("scaling.buffer_containers", 1, {"service.buffer_containers"}),
    "more at once": ("scaling.concurrency", 99, {"service.concurrency"}),
    "an API key": ("api_key_secret", "llm-key", {"service.secrets", "twin.secrets"}),
    "another commit": ("weights.revision", "0" * 40, {"fetch.source.revision"}),
    "a token": ("weights.token_secret", "another", {"fetch.secrets"}),
    "another package": ("image.apt", ["git"], {"service.image.lines", "twin.image.lines"}),
    "a variable": ("image.env", {"A": "b"}, {"service.image.lines", "twin.image.lines"}),
    "another prompt": ("warmup.prompt_tokens", [8], {"service.prompt_tokens", "twin.prompt_tokens"}),
    "another option": ("engine.options.seed", 7, {"service.options.seed", "twin.options.seed"}),
    "another name": ("name", "other", {"service.web.web.label", *(
        f"{part}.volumes.{path}" for part, paths in
        {"service": ("/weights", "/caches"), "twin": ("/weights", "/caches"), "fetch": ("/volume",)}.items()
        for path in paths)}),
}  # fmt: skip
"""Of a stack file alone, with what was sent as it was: the property, its value, and where the comparison fails."""


def changed(service: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    service = deepcopy(service)
    *parents, last = path.split(".")
    inner = service
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return service


@pytest.mark.parametrize("change", CHANGES)
@each_stack
def test_a_stack_that_was_not_sent_does_not_pass(arrivals: Arrivals, stack: str, change: str) -> None:
    service, (path, value, where) = service_of(stack_file(stack)), CHANGES[change]
    other = promised(changed(service, path, value), stack)
    found = differences(other, arrivals.arrived(service["name"]))
    expected = {"service.gpus", "twin.gpus"} if path == "gpu" else where
    assert found == expected - ({"service.gpus", "twin.gpus"} if service["gpu"] == value else set())


def test_what_no_stack_asks_for_arrives_as_well(
    recorder: Recorder, client: modal.Client, pulumi_env: dict[str, str], tmp_path: Path
) -> None:
    """Weights in the image, by a token, lines of its own, GPUs to choose from, a key, one container kept warm."""
    document = yaml.safe_load(stack_file("glm-4.7-flash"))
    service = document["config"]["coldsnap:services"][0]
    service |= {"name": "another", "gpu": ["L40S", "A100-80GB"], "api_key_secret": "llm-key"}
    service |= {"image": {"env": {"LLM_MODE": "quiet"}, "apt": ["git"], "run": ["echo all is there"]}}
    service["weights"] |= {"place": "image", "token_secret": "hub"}
    service["scaling"]["min_containers"] = 1
    modal.Secret.objects.create("llm-key", {"API_KEY": TOKEN}, client=client)
    modal.Secret.objects.create("hub", {"HF_TOKEN": TOKEN}, client=client)
    said = project_of("another", json.dumps(document), tmp_path, pulumi_env).up(fails=True)
    arrivals = recorder.arrivals
    assert differences(promised(service, "another"), arrivals.arrived("another")) == set(), said
    assert f"error: Failure: Service.*: {REFUSED}" in said
    assert recorder.status["containers"] == []
    assert TOKEN not in said + json.dumps(arrivals.recorded)
