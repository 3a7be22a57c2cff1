"""`python -m localmodal.coverage`: writes docs/local-modal.md, which calls of the client are served here and which not.

`--check` writes nothing and fails if the page is not what the code says.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from localmodal.api.groups import GROUPS
from localmodal.api.server import calls_of_the_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localmodal.api.group import Group

PAGE = Path(__file__).parent.parent / "docs/local-modal.md"

NOT_SERVED = {
    r"(Persistent)?Sandbox\w+|Template\w+": "sandboxes",
    r"ContainerExec\w*|ContainerFilesystemExec": "programs started in running containers",
    r"FunctionStartPtyShell|TaskGetCommandRouterAccess": "shells in containers",
    r"Tunnel\w+": "tunnels from a container to the internet",
    r"SharedVolume\w+": "network file systems, which volumes have replaced",
    r"Proxy\w+": "static outgoing addresses",
    r"Domain\w+": "domains of one's own",
    r"Endpoint\w+": "ready-made model endpoints",
    r"Cluster\w+|TaskClusterHello": "several machines working as one",
    r"Flash\w+": "servers behind the service's own load balancer",
    r"Attempt\w+|Map\w+|FunctionAsyncInvoke|FunctionRetryInputs": "the service's second way of calling functions",
    r"\w*Stats|\w*Metrics|MetricsGetInfo": "figures over time",
    r"FunctionCall(Count|Fetch)|Server(CountRequests|RequestFetch)": "past calls and requests",
    r"\w*Billing\w*|Environment(Get|Set)Budget": "bills and budgets",
    r"AuditLog\w+": "audit logs",
    r"ServiceUser\w+|UserGroup\w+": "users: there is one here",
    r"Environment\w*(Role|Roles|Managed|RoleSet)|Environment\w*Role\w*": "roles: there is one user here",
    r"Token\w+": "accounts: the one token is made at the first start",
    r"WorkspaceDashboardUrlGet": "the dashboard in the browser",
    r"WorkspaceSetDefaultEnvironmentSettings": "defaults of environments to come",
    r"CliCommandSuggest|ObjectSuggest": "suggestions after a typing error",
    r"App(Deploy|GetObjects|Lookup|SetObjects)|ContainerLog|FunctionBlobGet|FunctionGetSerialized|VolumeGetFile"
    r"|TaskCurrentInputs": "what older clients call",
    r"ContainerReloadVolumes": "nothing: a container sees what others write at once",
    r"FunctionListVariants": "the list of a function's variants",
}
"""What the calls that are not served are for: the first pattern that matches the whole name."""

HEAD = """\
<!-- Made by `python -m localmodal.coverage`. Change the code, then run that; CI runs it with --check. -->

# The local Modal

The stack `local` talks to a control plane of its own on this machine. An unmodified `modal` client {client} uses it:
`coldsnap local env` prints the variables that make it do so, for any `modal` command or program. Of the client's
{total} calls {served} are served; every other one is answered with UNIMPLEMENTED and its name.

## What differs from the service

- One workspace (`local`), one user, one token. Environments are real.
- Volumes: containers see each other's writes at once. A commit waits until they are on the disk; a reload does nothing.
- Dicts: entries do not expire. Queues: partitions do, 24 hours after their last put or when `partition_ttl` says.
- Secrets lie unencrypted in a database that only its owner can read (mode 0600).
- Blobs (payloads over 2 MiB) and results of calls are kept for seven days.
- A nameless secret (`Secret.from_dict`) or mount that is the same again is the same object, so that a deployment
  without changes is no new definition.

## To see what would be sent to Modal

With `COLDSNAP_RECORD=1` every `coldsnap local` command means another control plane, in a home of its own, that writes
down what it is sent and neither builds nor starts any of it. It needs no rights, and takes any GPU by its name. In a
subshell, with a state of its own so that Pulumi takes nothing of it for deployed:

```
( export COLDSNAP_RECORD=1 PULUMI_BACKEND_URL="file://$(mktemp -d)" PULUMI_CONFIG_PASSPHRASE=
  coldsnap local start && eval "$(coldsnap local env)"
  pulumi stack init glm-4.7-flash && pulumi up --yes --skip-preview
  coldsnap local recorded; coldsnap local stop )
```

The last line prints as JSON what has arrived: apps with their functions, images with their lines, volumes, secrets. Of
a named secret only the names are shown; the variables of `env=` and `Secret.from_dict`, which are the same to the
client, have their values. Whatever needs a container is refused, and says so: the update ends at weights that a
function would fetch to a Volume (`weights.place: image` makes lines of the image of it), else at the warm-up.
"""


class CoverageError(Exception):
    """The page cannot be made: what is missing."""


def page() -> str:
    """The page, from the groups that are served and the client that is installed."""
    known = set(calls_of_the_client())
    served = {group: sorted(known & set(dir(group))) for group in GROUPS}
    rest = sorted(known.difference(*served.values()))
    head = HEAD.format(client=version("modal"), total=len(known), served=len(known) - len(rest))
    return "\n".join([head, *_served(served), *_not_served(rest)]) + "\n"


def _served(served: dict[type[Group], list[str]]) -> Iterator[str]:
    yield "## Served"
    for group, names in served.items():
        yield f"\n### {_first_sentence(inspect.getmodule(group))}\n"
        yield from _table((name, "yes", _first_sentence(getattr(group, name))) for name in names)


def _not_served(names: list[str]) -> Iterator[str]:
    yield "\n## Not served\n"
    yield from _table((name, "no", purpose(name)) for name in names)


def _table(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield "| call | served | what for |\n|---|---|---|"
    for name, served, purpose in rows:
        yield f"| `{name}` | {served} | {purpose} |"


def _first_sentence(documented: object) -> str:
    text = " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())
    if not text:
        raise CoverageError(f"{documented} has no docstring: it says on the page what the call is for")
    return re.split(r"(?<=[.;:])\s", text)[0].rstrip(".;:")


def purpose(name: str) -> str:
    """What a call that is not served is for."""
    for pattern, text in NOT_SERVED.items():
        if re.fullmatch(pattern, name):
            return text
    raise CoverageError(f"{name} is not served, and NOT_SERVED does not say what it is for")


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localmodal.coverage", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is stale, and leave it")
    current = page()
    if not parser.parse_args().check:
        PAGE.write_text(current, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != current:
        sys.stderr.write(f"{PAGE.name} is stale. Run `python -m localmodal.coverage` and commit the page.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
