"""Rules of nftables, as few as there are: what containers' packets may reach, and whose address they carry."""

from __future__ import annotations

import contextlib
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.nftables.expressions import genex, ipv4addr, masq, verdict
from pyroute2.nftables.main import NFTables

# As the kernel numbers them: verdicts (NF_*), keys of meta expressions (NFT_META_*), the place of source translation.
_DROP, _ACCEPT = 0, 1
_COMES_IN_BY, _GOES_OUT_BY = 6, 7
_SOURCE_TRANSLATION = 100
_NAME_BYTES = 16
_LINK_LOCAL = "169.254.0.0/16"
"""Where clouds hand out credentials to whoever asks."""


def translate_what_leaves_by(interface: str, table: str) -> None:
    """In this thread's network: packets that go out there carry the interface's address."""
    with NFTables() as rules:
        rules.table("add", name=table)
        _translate(rules, table, _interface(_GOES_OUT_BY, interface))


def let_out(bridge: str, subnet: str, table: str) -> None:
    """On this machine: packets from the bridge get out under our address, and reach no service of this machine."""
    with NFTables() as rules:
        rules.table("add", name=table)
        _translate(rules, table, ipv4addr(src=subnet))
        where: dict[str, list[Any]] = {"input": [], "forward": ipv4addr(dst=_LINK_LOCAL)}
        for hook, more in where.items():
            rules.chain("add", table=table, name=hook, hook=hook, type="filter", priority=0, policy=_ACCEPT)
            drop = (_interface(_COMES_IN_BY, bridge), more, verdict(_DROP))
            rules.rule("add", table=table, chain=hook, expressions=drop)


def remove(table: str) -> None:
    """Nothing happens if there is none."""
    with NFTables() as rules, contextlib.suppress(NetlinkError):
        rules.table("del", name=table)


def _translate(rules: Any, table: str, which: list[Any]) -> None:
    rules.chain(
        "add", table=table, name="out", hook="postrouting", type="nat", priority=_SOURCE_TRANSLATION, policy=_ACCEPT
    )
    rules.rule("add", table=table, chain="out", expressions=(which, masq()))


def _interface(direction: int, name: str) -> list[Any]:
    wanted = {"attrs": [("NFTA_DATA_VALUE", name.encode().ljust(_NAME_BYTES, b"\0"))]}
    return [genex("meta", {"key": direction, "dreg": 1}), genex("cmp", {"sreg": 1, "op": 0, "data": wanted})]
