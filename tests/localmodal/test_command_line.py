"""The `modal` command line on apps and containers; that on other objects is tested beside each of them."""

import json
import sys
import textwrap
import time

import pytest

SOURCE = """
    import modal

    app = modal.App("shop", image=modal.Image.from_registry("python:{python}-slim-bookworm"))


    @app.function(scaledown_window=60)
    def greet(name: str = "world") -> str:
        print("{greeting}", name)
        return "{greeting} " + name


    @app.local_entrypoint()
    def main(name: str = "there"):
        print("answer:", greet.remote(name))
"""


@pytest.fixture
def shop(cli, tmp_path):
    """Writes the app's file with a greeting, and returns its path."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"

    def write(greeting: str) -> str:
        file = tmp_path / "shop.py"
        file.write_text(textwrap.dedent(SOURCE.format(python=python, greeting=greeting)))
        return str(file)

    yield write
    cli("app", "stop", "--yes", "shop")


def apps(cli) -> dict[str, str]:
    return {one["description"]: one["state"] for one in json.loads(cli("app", "list", "--json").stdout)}


def history(cli) -> list[tuple[str, str]]:
    versions = json.loads(cli("app", "history", "shop", "--json").stdout)
    return [(one["version"], one.get("tag")) for one in versions]


def call(cli, shop, name: str) -> str:
    """Calls the deployed function as another program would."""
    caller = "import modal, sys; print(modal.Function.from_name('shop', 'greet').remote(sys.argv[1]))"
    return cli.python(caller, name).stdout.strip()


def test_run_runs_an_app_and_ends_it(cli, shop):
    ran = cli("run", shop("hello"), "--name", "Ada")
    assert ran.returncode == 0, ran.stderr
    assert "answer: hello Ada" in ran.stdout
    assert apps(cli) == {"shop": "stopped"}


def test_an_app_is_deployed_listed_rolled_back_and_stopped(cli, shop):
    assert cli("deploy", shop("hello"), "--tag", "first").returncode == 0
    assert call(cli, shop, "Ada") == "hello Ada"
    assert cli("deploy", shop("goodbye"), "--tag", "second").returncode == 0
    assert call(cli, shop, "Ada") == "goodbye Ada"
    assert history(cli) == [("v2", "second"), ("v1", "first")]
    assert cli("app", "rollback", "shop").returncode == 0
    assert call(cli, shop, "Ada") == "hello Ada"
    assert history(cli)[0] == ("v3", "first")
    assert cli("app", "rollover", "shop").returncode == 0
    assert "greet" in cli("app", "info", "shop").stdout
    assert cli("app", "stop", "--yes", "shop").returncode == 0
    assert apps(cli) == {"shop": "stopped"}


def test_a_staged_version_takes_no_calls_until_it_is_promoted(cli, shop):
    assert cli("deploy", shop("hello")).returncode == 0
    assert cli("deploy", shop("goodbye"), "--staged").returncode == 0
    assert call(cli, shop, "Ada") == "hello Ada"
    assert cli("app", "promote", "shop", "v2").returncode == 0
    assert call(cli, shop, "Ada") == "goodbye Ada"


def test_containers_are_listed_with_their_logs_and_stopped(cli, shop):
    assert cli("deploy", shop("hello")).returncode == 0
    call(cli, shop, "Ada")
    [container] = json.loads(cli("container", "list", "--json").stdout)
    assert container["app_name"] == "shop"
    assert "hello Ada" in cli("container", "logs", container["container_id"]).stdout
    assert "hello Ada" in cli("app", "logs", "shop").stdout
    assert cli("app", "logs", "shop", "--search", "nothing like it").stdout.strip() == ""
    assert "hello Ada" in cli("function", "logs", "shop/greet").stdout
    assert cli("container", "stop", "--yes", container["container_id"]).returncode == 0
    deadline = time.monotonic() + 30
    while json.loads(cli("container", "list", "--json").stdout):
        assert time.monotonic() < deadline, "the container does not end"


def test_a_functions_scaling_is_shown_and_changed_without_a_deployment(cli, shop):
    assert cli("deploy", shop("hello")).returncode == 0
    assert "60 seconds" in cli("function", "info", "shop/greet").stdout
    assert cli("function", "autoscaler", "update", "shop/greet", "--max-containers", "3").returncode == 0
    settings = cli("function", "autoscaler", "settings", "shop/greet").stdout
    assert [line.split()[-1] for line in settings.splitlines() if "Max Containers" in line] == ["3"]
    assert len(history(cli)) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("app", "logs", "nowhere"), "No App with name 'nowhere'"),
        (("app", "stop", "--yes", "nowhere"), "No App with name 'nowhere'"),
        (("container", "logs", "ta-nowhere"), "ta-nowhere"),
        (("function", "info", "nowhere/f"), "App 'nowhere' not found"),
        (("volume", "ls", "nowhere"), "Volume 'nowhere' not found in environment"),
        (("dict", "get", "nowhere", "key"), "Dict 'nowhere' not found in environment"),
        (("secret", "delete", "--yes", "nowhere"), "Secret 'nowhere' not found in environment"),
        (("dashboard",), "WorkspaceDashboardUrlGet is not served by the local control plane"),
    ],
)
def test_what_cannot_be_done_is_said_by_name(cli, command, message):
    refused = cli(*command)
    assert refused.returncode != 0
    assert message in refused.stderr
