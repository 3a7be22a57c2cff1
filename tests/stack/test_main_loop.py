"""From the stack file to the answer, by the real CLI: what an update makes, and what it leaves alone."""

import json
from pathlib import Path
from shutil import move

import httpx
import pytest
from pulumi_project import CHAT, Project

from cli.quiet import Quiet
from service import operations


def test_the_service_answers_at_its_url(deployed: Project) -> None:
    request = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    answer = httpx.post(f"{deployed.output()['url']}/v1/chat/completions", json=request, timeout=120)
    assert answer.json()["choices"][0]["message"]["content"]


def test_the_outputs_tell_before_and_after(deployed: Project) -> None:
    chat = deployed.output()
    assert chat["version"] == 1
    assert chat["cold"]["runs"] == 1
    assert set(chat["cold"]["phases"]) >= {"imports", "load", "first_answer"}
    if chat["snapshot"] == "verified":
        assert chat["restores_in_a_row"] == chat["restored"]["runs"] == 3
        assert chat["speedup"] == pytest.approx(
            chat["cold"]["first_answer_s"] / chat["restored"]["first_answer_s"], abs=0.01
        )
    else:
        assert chat["restored"] is chat["speedup"] is None


@pytest.mark.parametrize(
    "command",
    [
        ("up", "--yes", "--skip-preview"),
        ("preview",),
        ("preview", "--refresh"),
        ("refresh", "--yes", "--skip-preview"),
        ("refresh", "--preview-only"),
    ],
    ids=" ".join,
)
def test_no_diff_if_nothing_changed(deployed: Project, command: tuple[str, ...]) -> None:
    deployed.pulumi(*command, "--expect-no-changes")


def test_no_diff_after_the_project_moved_to_another_folder(deployed: Project, tmp_path: Path) -> None:
    moved = Project(tmp_path / "elsewhere", deployed.env, deployed.stack)
    move(deployed.folder / "stacks/Pulumi.dev.yaml", moved.folder / "stacks/Pulumi.dev.yaml")
    try:
        moved.pulumi("preview", "--expect-no-changes")
    finally:
        move(moved.folder / "stacks/Pulumi.dev.yaml", deployed.folder / "stacks/Pulumi.dev.yaml")


def test_no_secret_is_in_the_state(deployed: Project) -> None:
    state = deployed.pulumi("stack", "export", "--show-secrets")
    assert json.loads(state)["deployment"]["resources"]
    assert deployed.env["MODAL_TOKEN_SECRET"] not in state


def test_same_image_if_only_the_engine_option_changes(deployed: Project) -> None:
    deployed.declare(CHAT | {"engine": {"kind": "llama_cpp", "options": {"n_ctx": 2048}}})
    said = deployed.pulumi("preview")
    assert "redeploy, new snapshot (engine)" in said
    assert deployed.steps() == {"GpuDeployment": "update", "SnapshotWarmup": "update"}
    deployed.declare(CHAT)


def test_replaces_if_the_name_of_the_environment_changes(deployed: Project) -> None:
    deployed.declare(CHAT, environment="other")
    assert deployed.steps()["GpuDeployment"] == "replace"
    deployed.declare(CHAT)


def test_autoscaler_update_only_if_scaledown_window_changes(deployed: Project) -> None:
    version = deployed.output()["version"]
    deployed.declare(CHAT | {"scaling": {"scaledown_window": 45}})
    assert deployed.steps() == {"GpuDeployment": "update"}
    assert "live autoscaler update, no new version, snapshot kept (scaling)" in deployed.up()
    assert deployed.output()["version"] == version
    deployed.declare(CHAT)
    deployed.up()


def test_verifies_again_only_if_restores_in_a_row_rises(deployed: Project) -> None:
    deployed.declare(CHAT | {"warmup": {"restores_in_a_row": 4}})
    assert deployed.steps() == {"SnapshotWarmup": "update"}
    assert "snapshot proved again (restores_in_a_row)" in deployed.pulumi("preview")
    deployed.declare(CHAT)


def test_a_second_update_at_the_same_time_is_told_of_the_lock(deployed: Project) -> None:
    lock = Path(deployed.env["PULUMI_HOME"]) / ".pulumi/locks/organization/coldsnap/dev"
    lock.mkdir(parents=True, exist_ok=True)
    other = lock / "another.json"
    other.write_text(json.dumps({"pid": 1, "username": "somebody", "hostname": "elsewhere"}))
    said = deployed.up(fails=True)
    other.unlink()
    assert "the stack is currently locked by 1 lock(s)" in said


def test_a_deployment_that_pulumi_lost_is_adopted_as_it_is(deployed: Project) -> None:
    """What a provider leaves that was killed after the deploy and before its answer."""
    before = deployed.output()
    for kind in ("SnapshotWarmup", "GpuDeployment"):
        urn = f"urn:pulumi:dev::coldsnap::coldsnap:index:SnapshottedGpuService$pulumi-python:dynamic/coldsnap:{kind}"
        deployed.pulumi("state", "delete", f"{urn}::chat", "--yes")
    deployed.up()
    after = deployed.output()
    assert [after[name] for name in ("app_id", "version")] == [before[name] for name in ("app_id", "version")]


def test_an_app_that_was_stopped_by_hand_comes_back(deployed: Project) -> None:
    before = deployed.output()["app_id"]
    deployed.client("app", "stop", "--yes", "chat")
    deployed.pulumi("refresh", "--preview-only", "--expect-no-changes", fails=True)
    deployed.pulumi("up", "--refresh", "--yes", "--skip-preview")
    after = deployed.output()
    assert after["app_id"] != before
    assert after["containers_started"] > 0
    deployed.pulumi("refresh", "--preview-only", "--expect-no-changes")


def test_an_app_of_somebody_else_is_left_alone(deployed: Project, tmp_path: Path) -> None:
    script = tmp_path / "talk.py"
    script.write_text('import modal\napp = modal.App("talk")\n\n@app.function()\ndef hello():\n    return "hello"\n')
    deployed.client("deploy", str(script))
    deployed.declare(CHAT, CHAT | {"name": "talk"})
    said = deployed.up(fails=True)
    assert "talk: an app of this name is there" in said
    assert "was not made by Coldsnap; this stack is coldsnap.dev." in said
    deployed.client("app", "stop", "--yes", "talk")
    deployed.declare(CHAT)
    deployed.up()


def test_an_app_that_went_to_somebody_else_keeps_its_records(
    deployed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is all that it shares with the service that is destroyed."""
    for name, value in deployed.env.items():
        monkeypatch.setenv(name, value)
    request = {"app_name": "chat", "owner": "another.stack"}
    operations.run("destroy", request, backend="local", environment="", progress=Quiet())
    assert "chat-boots" in [entry["name"] for entry in json.loads(deployed.client("dict", "list", "--json"))]
    deployed.pulumi("refresh", "--preview-only", "--expect-no-changes")
