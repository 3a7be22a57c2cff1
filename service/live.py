"""What of a service is live right now."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import modal
from modal.exception import NotFoundError
from modal.types import AppState

from engines.names import SERVICE, WEB
from service import protocol
from service.backend import reachable
from service.failure import Failure
from spec.deployment import OWNER_TAG

_POLL_S = 0.2


@dataclass(frozen=True)
class LiveApp:
    """A deployed app, and which version of the service it runs."""

    app_id: str
    version: int
    definition: str
    """The tag of its deploy: the definition's digest."""
    deployed_at: str
    owner: str

    def outputs(self) -> dict[str, Any]:
        """What a deployment's outputs say of it."""
        return {key: value for key, value in asdict(self).items() if key != "owner"}


def find(app_name: str) -> LiveApp | None:
    """The deployed app of that name; none if there is none, or it was stopped."""
    try:
        app = modal.App.lookup(app_name)
    except NotFoundError:
        return None
    info = app.info(refresh=True)
    if info.lifecycle.state is not AppState.DEPLOYED:
        return None
    deployed_at = info.lifecycle.deployed_at
    return LiveApp(
        app_id=info.app_id,
        version=info.lifecycle.version or 0,
        definition=protocol.production_tag(info.app_id),
        deployed_at=deployed_at.isoformat(timespec="seconds") if deployed_at else "",
        owner=app.get_tags().get(OWNER_TAG, ""),
    )


def url(app_name: str) -> str:
    """Where the service's HTTP API answers."""
    return reachable(getattr(modal.Cls.from_name(app_name, SERVICE)(), WEB).get_web_url())


def wait_until_nothing_runs(app_id: str, *, patience_s: float) -> None:
    """Returns when no container of the app is left, or when it has taken too long."""
    deadline = time.monotonic() + patience_s
    while protocol.running(app_id) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def refuse_strangers(live: LiveApp | None, app_name: str, owner: str) -> None:
    """Failure if the app is not ours: deploying over it, or stopping it, would break somebody else's service."""
    if live is not None and live.owner != owner:
        whose = f"belongs to {live.owner}" if live.owner else "was not made by Coldsnap"
        raise Failure(
            f"{app_name}: an app of this name is there ({live.app_id}) and {whose}; this stack is {owner}. "
            f"Give the service another name, or stop that app first: modal app stop {app_name}"
        )
