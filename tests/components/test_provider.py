"""The shell between Pulumi and `service/`, over gRPC against the real process that Pulumi starts for it."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import dill
import grpc
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc
from pulumi.runtime.rpc import UNKNOWN

from components.cuda_runtime_image import CudaRuntimeImageProvider
from components.gpu_deployment import GpuDeploymentProvider
from components.model_weights import ModelWeightsProvider
from components.provider import ServiceProvider, plain
from components.snapshot_warmup import SnapshotWarmupProvider
from service.economics import Hardware, Measured, idle_in_words, snapshot_in_words

URN = "urn:pulumi:dev::p::coldsnap:index:SnapshottedGpuService$pulumi-python:dynamic/coldsnap:GpuDeployment::chat"
INPUTS = {
    "urn": URN,
    "app_name": "chat",
    "backend": "modal",
    "engine": {"kind": "llama_cpp", "options": {"n_ctx": 4096}},
    "scaling": {"scaledown_window": 60},
}
L40S = Hardware("L40S", cores=0, mib=0)
LOCAL = INPUTS | {"backend": "local"}


class Engine(engine_pb2_grpc.EngineServicer):
    """Takes what a provider logs, as Pulumi's engine does."""

    def __init__(self) -> None:
        self.logged: list[Any] = []

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802 - the call's name
        del context
        self.logged.append(request)
        return empty_pb2.Empty()


@pytest.fixture
def engine() -> Iterator[tuple[Engine, str]]:
    servicer, server = Engine(), grpc.server(futures.ThreadPoolExecutor())
    engine_pb2_grpc.add_EngineServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    servicer.stop = server.stop
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def process(engine: tuple[Engine, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-u", "-m", "pulumi.dynamic", engine[1]]
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_TOKEN")}
    stranger["MODAL_CONFIG_PATH"] = os.devnull
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=stranger) as process:
        yield process
        process.kill()


@pytest.fixture
def provider(process: subprocess.Popen[bytes]) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    assert process.stdout is not None
    port = process.stdout.readline().decode().strip()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)


def bag(kind: type[ServiceProvider], values: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict({**values, "__provider": serialize_provider(kind())}, struct_pb2.Struct())


def diff(provider: Any, old: dict[str, Any], new: dict[str, Any]) -> Any:
    return ask(provider, GpuDeploymentProvider, old, new)


def ask(provider: Any, kind: type[ServiceProvider], old: dict[str, Any], new: dict[str, Any]) -> Any:
    return provider.Diff(provider_pb2.DiffRequest(id="chat", urn=URN, olds=bag(kind, old), news=bag(kind, new)))


@pytest.mark.parametrize(
    "kind", [CudaRuntimeImageProvider, ModelWeightsProvider, GpuDeploymentProvider, SnapshotWarmupProvider]
)
def test_a_provider_is_pickled_by_reference_and_holds_nothing(kind: type[ServiceProvider]) -> None:
    pickled = base64.b64decode(serialize_provider(kind()))
    assert kind.__name__.encode() in pickled
    assert len(pickled) < 150
    assert vars(dill.loads(pickled)) == {}


def test_no_diff_over_the_wire_if_nothing_changes(provider: Any) -> None:
    """Whole numbers arrive as floats."""
    outputs = INPUTS | {"version": 1, "url": "http://chat.localhost"}
    assert diff(provider, outputs, INPUTS).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_a_change_is_named_in_the_status_column(provider: Any, engine: tuple[Engine, str]) -> None:
    answer = diff(provider, LOCAL, LOCAL | {"scaling": {"scaledown_window": 90}})
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    (line,) = engine[0].logged
    assert (line.message, line.urn, line.ephemeral) == (
        "live autoscaler update, no new version, snapshot kept (scaling)",
        URN,
        True,
    )


def test_a_change_is_priced_where_containers_cost_money(provider: Any, engine: tuple[Engine, str]) -> None:
    diff(provider, INPUTS | {"gpu": "L40S"}, INPUTS | {"gpu": "H100"})
    (line,) = engine[0].logged
    assert line.message == f"redeploy, new snapshot (gpu); {idle_in_words(Hardware('H100', 0, 0))}"


def test_a_new_snapshot_is_priced_by_the_seconds_of_the_last_one(provider: Any, engine: tuple[Engine, str]) -> None:
    proved = {"urn": URN, "backend": "modal", "definition": "d1", "gpu": "L40S", "container_seconds": 90.4}
    ask(provider, SnapshotWarmupProvider, proved, proved | {"definition": UNKNOWN})
    (line,) = engine[0].logged
    assert line.message == f"snapshot proved again (another version); {snapshot_in_words(L40S, Measured.of(proved))}"
    assert "about 90 s of L40S = $0." in line.message


def test_what_is_only_recorded_has_no_price(provider: Any, engine: tuple[Engine, str]) -> None:
    diff(provider, INPUTS | {"rollout": "rolling"}, INPUTS | {"rollout": "recreate"})
    (line,) = engine[0].logged
    assert line.message == "recorded, nothing that runs is touched (rollout)"


@pytest.mark.parametrize(
    ("backend", "said"),
    [("local", []), ("modal", [snapshot_in_words(L40S, Measured.of({}))])],
)
def test_a_first_snapshot_is_priced_where_it_costs_money(
    provider: Any, engine: tuple[Engine, str], backend: str, said: list[str]
) -> None:
    """Pulumi asks for no diff of what is to be made."""
    news = bag(SnapshotWarmupProvider, {"urn": URN, "backend": backend, "definition": UNKNOWN, "gpu": "L40S"})
    provider.Check(provider_pb2.CheckRequest(urn=URN, news=news))
    assert [line.message for line in engine[0].logged] == said


def test_another_name_replaces(provider: Any) -> None:
    assert list(diff(provider, INPUTS, INPUTS | {"app_name": "talk"}).replaces) == ["app_name"]


def test_an_image_that_is_not_known_yet_is_a_change(provider: Any) -> None:
    answer = diff(provider, INPUTS | {"image_id": "im-1"}, INPUTS | {"image_id": UNKNOWN})
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME


def test_unknown_inputs_pass_the_check(provider: Any) -> None:
    news = bag(GpuDeploymentProvider, INPUTS | {"image_id": UNKNOWN})
    answer = provider.Check(provider_pb2.CheckRequest(urn=URN, news=news))
    assert not answer.failures
    assert answer.inputs["image_id"] == UNKNOWN


def test_a_failure_reaches_the_user_without_a_traceback(provider: Any) -> None:
    """The client refuses to go anywhere without a token."""
    inputs = INPUTS | {"owner": "p.dev", "environment": ""}
    with pytest.raises(grpc.RpcError) as caught:
        provider.Delete(provider_pb2.DeleteRequest(id="chat", urn=URN, properties=bag(GpuDeploymentProvider, inputs)))
    assert caught.value.details().startswith("Failure: Token missing.")
    assert "Traceback" not in caught.value.details()


def test_a_provider_ends_with_its_engine(provider: Any, engine: tuple[Engine, str], process: Any) -> None:
    """Pulumi itself leaves the provider of a killed engine running for ever."""
    diff(provider, INPUTS, INPUTS)
    assert process.poll() is None
    engine[0].stop(None)
    assert process.wait(timeout=30) == 1


def test_values_are_as_they_were_declared() -> None:
    wire = json.loads('{"a": 4096.0, "b": 0.5, "c": [1.0, {"d": null}], "e": null, "__provider": "x", "f": true}')
    assert plain(wire) == {"a": 4096, "b": 0.5, "c": [1, {}], "f": True}
