# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets to show: what the modules return on many hosts, of the shapes that tests/integration sees on real ones."""

from __future__ import annotations

from typing import Any

from ansible_collections.beamops.epmd.plugins.plugin_utils._fleet import Record, glance

HOSTILE = [
    "<script>document.title='taken'</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}&amp;\\u0041",
    "right\u202eot-left",
    "line\nbreak\x1b[2J",
    "שלום@web1",
    "lone\ud800surrogate",
]
"""Names that a user of a host can give to a node."""


def node(name: str, verdict: str = "registered", **other: Any) -> dict[str, Any]:
    """A node as epmd_facts returns it."""
    short = name.partition("@")[0]
    msg = {"registered": f"epmd has the name {short} with port 40685", "missing": f"epmd has no name {short}"}
    return {
        "name": name,
        "pid": 1432,
        "user": "ejabberd",
        "address": "0.0.0.0",
        "port": 40685,
        "tls": False,
        "hidden": False,
        "epmd_port": 4369,
        "verdict": verdict,
        "registered": verdict in ("registered", "borrowed"),
        "msg": msg.get(verdict, f"{name}: {verdict}"),
        "namespace": None,
        **other,
    }


def daemon(*addresses: str, unit: str = "epmd.service", **other: Any) -> dict[str, Any]:
    """An epmd as epmd_facts returns it."""
    return {
        "port": 4369,
        "addresses": list(addresses),
        "pid": 611,
        "user": "epmd",
        "unit": unit,
        "in_application_unit": unit != "epmd.service",
        "state": "up",
        "names": {},
        "msg": "" if unit == "epmd.service" else f"it ends with {unit}, and all of its names with it",
        "foreign": [],
        "namespace": None,
        **other,
    }


def looked(*nodes: dict[str, Any], daemons: list[dict[str, Any]] | None = None, **result: Any) -> dict[str, Any]:
    """A host that was looked at, as `beamops.epmd.look` returns it."""
    found = {"nodes": list(nodes), "daemons": [daemon("0.0.0.0", "::")] if daemons is None else daemons, **result}
    return {**found, "looked": {"at": "2026-11-27T03:31:07Z", "tolerated": False}}


UNREACHABLE = {"looked": {"unreachable": True}, "msg": "ssh: connect to host far port 22: Connection refused"}
NO_PYTHON = {"looked": {"failed": True}, "rc": 127, "module_stdout": "/bin/sh: 1: /usr/bin/python3: not found"}


def fleet(number: int, playbook: str = "audit") -> Record:
    """Hosts of which 3 of 100 are lost, and some are in other trouble."""
    results: dict[str, Any] = {}
    for place in range(number):
        host = f"web{place + 1}"
        shop, chat = node(f"shop@{host}"), node(f"ejabberd@{host}", user="ejabberd")
        results[host] = {
            17: looked(shop, node(f"ejabberd@{host}", "missing")),
            23: looked(node(f"shop@{host}", "epmd_down", msg="epmd is down"), daemons=[daemon(state="down")]),
            31: UNREACHABLE,
            42: NO_PYTHON,
            48: looked(msg="no Erlang node runs here", daemons=[]),
            55: looked(
                shop, chat, node("worker@box", namespace=4026532567), daemons=[daemon("::1", namespace=4026532567)]
            ),
            61: looked(shop, daemons=[daemon("0.0.0.0", unit="shop.service")]),
            77: looked(shop, node(f"batch@{host}", "not_applicable", registered=False, msg="it only dials")),
            83: looked(shop, chat, daemons=[daemon("127.0.0.1")]),
            91: looked(
                shop, node(f"ejabberd@{host}", "conflict", msg="epmd has this name with port 9, held by pid 4711")
            ),
        }.get(place % 100, looked(shop, chat))
    return glance(results, playbook, made="2026-11-27T03:31:09Z", inventory=["/etc/ansible/hosts"])


def hostile() -> Record:
    """A fleet whose names want to be something else."""
    nodes = {f"web{place}": looked(node(name, "missing", user=name)) for place, name in enumerate(HOSTILE)}
    hosts = {name: looked(node("vic@web1", "missing"), daemons=[daemon("::", unit=name)]) for name in HOSTILE}
    return glance({**nodes, **hosts, "far": {**UNREACHABLE, "msg": HOSTILE[0]}}, "audit", made="2026-11-27T03:31:09Z")
