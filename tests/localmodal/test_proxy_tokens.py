"""Proxy tokens: made and taken back by the client and its command line, asked for at the door of a web function."""

import json
from urllib.parse import urlsplit

import httpx
import modal
import pytest


@pytest.fixture
def tokens(client):
    return modal.Workspace.from_context(client=client).proxy_tokens


@pytest.fixture
def guarded(app, deploy):
    """The address, by path, of a web function that asks for a proxy token."""

    @app.function(serialized=True)
    @modal.wsgi_app(requires_proxy_auth=True)
    def web():
        def answer(_, start_response):
            start_response("200 OK", [])
            return [b"come in"]

        return answer

    deploy(app)
    by_name = urlsplit(web.get_web_url())
    return f"http://127.0.0.1:{by_name.port}/_apps/{by_name.hostname.removesuffix('.localhost')}/"


def ask(url: str, **headers: str) -> tuple[int, str]:
    answer = httpx.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=60)
    return answer.status_code, answer.text


def test_a_token_opens_the_door_until_it_is_deleted(guarded, tokens):
    token = tokens.create("visitor")
    pair = {"Modal_Key": token.token_id, "Modal_Secret": token.token_secret}
    assert ask(guarded, **pair) == (200, "come in")
    assert ask(guarded, Authorization=f"Bearer {token.token_id}.{token.token_secret}") == (200, "come in")
    tokens.delete(token.token_id)
    assert ask(guarded, **pair)[0] == 401


def test_without_a_token_or_with_a_wrong_one_the_door_stays_shut(guarded, tokens):
    token = tokens.create("visitor")
    assert ask(guarded)[0] == 401
    assert ask(guarded, Modal_Key=token.token_id, Modal_Secret="ws-guessed")[0] == 401
    assert ask(guarded, Authorization=f"Bearer {token.token_id}.ws-guessed")[0] == 401


def test_a_token_allowed_in_one_environment_is_no_good_in_another(guarded, tokens, environment):
    token = tokens.create("visitor")
    pair = {"Modal_Key": token.token_id, "Modal_Secret": token.token_secret}
    tokens.allow(token.token_id, environment)
    assert token.token_id in [one.token_id for one in tokens.list(environment)]
    assert ask(guarded, **pair)[0] == 401
    tokens.allow(token.token_id, "main")
    assert ask(guarded, **pair) == (200, "come in")
    tokens.revoke(token.token_id, "main")
    assert ask(guarded, **pair)[0] == 401


def test_a_secret_is_shown_once(daemon, tokens):
    token = tokens.create("visitor")
    assert token.token_secret.encode() not in daemon.paths.database.read_bytes()
    assert token.token_secret not in daemon.log
    [listed] = [one for one in tokens.list() if one.token_id == token.token_id]
    assert (listed.name, listed.created_by, listed.scoped) == ("visitor", "local", False)


def test_the_command_line_manages_tokens(cli):
    created = json.loads(cli("workspace", "proxy-tokens", "create", "--name", "ci", "--json").stdout)
    listed = cli("workspace", "proxy-tokens", "list", "--json").stdout
    assert created["Modal-Key"] in listed
    assert created["Modal-Secret"] not in listed
    assert cli("workspace", "proxy-tokens", "delete", "--yes", created["Modal-Key"]).returncode == 0
    assert created["Modal-Key"] not in cli("workspace", "proxy-tokens", "list", "--json").stdout
