# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal shows of a host, from the results of its steps: a row for each node of the host. Pure.

Standard: RETURN in the documentation of `epmd_scratch` and `epmd_register`; `rows` in `_fleet.glance`. Private to the
collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]

NAME = "rehearse"
"""The name of the scratch nodes, by which the next run finds what a killed one left."""

WOULD, WOULD_NOT, NOT_REHEARSED = "would work", "would not work", "not rehearsed"

_NO_NODE = "no Erlang node runs here; to rehearse with the Erlang of the host: -e rehearse_erl=erl"


def started(result: Mapping[str, Any]) -> list[Record]:
    """The scratch nodes that run."""
    return [node for node in result.get("scratch_nodes") or [] if node["pid"] is not None]


def result(
    first: Mapping[str, Any],
    lost: Mapping[str, Any] | None = None,
    registered: Mapping[str, Any] | None = None,
    ended: Mapping[str, Any] | None = None,
) -> Record:
    """The result for `_fleet.glance`, from those of the steps; None or empty is one that was not begun."""
    if first.get("failed") or "scratch_nodes" not in first:
        if first.get("failed"):
            return dict(first)
        return {"nodes": [], "rows": [_row("-", NOT_REHEARSED, str(first.get("msg", "")))], "msg": first.get("msg")}
    lost, registered, ended = lost or {}, registered or {}, ended or {}
    rows = [
        _row(name, *_verdict(node, lost, registered, ended))
        for node in first["scratch_nodes"]
        for name in node["like"] or [node["name"]]
    ]
    broken = [each for each in (lost, ended) if each.get("failed")]
    rows += [_row("-", "failed", str(each.get("msg", ""))) for each in broken]
    bad = [row for row in rows if row["verdict"] in (WOULD_NOT, "failed")]
    found: Record = {"nodes": [], "rows": rows, "changed": False, "msg": "" if rows else _NO_NODE}
    return {**found, "failed": True, "msg": "; ".join(row["msg"] for row in bad)} if bad else found


def _row(name: str, verdict: str, msg: str) -> Record:
    return {"name": name, "verdict": verdict, "msg": msg}


def _verdict(
    node: Mapping[str, Any], lost: Mapping[str, Any], registered: Mapping[str, Any], ended: Mapping[str, Any]
) -> tuple[str, str]:
    """The verdict on what a scratch node stands for, and why."""
    if node["reason"] == "not_rehearsed":
        return NOT_REHEARSED, node["msg"]
    if node["reason"]:
        return WOULD_NOT, node["msg"]
    if not registered:
        return WOULD_NOT, str(lost.get("msg") or "its scratch node could not be made to lose its name")
    found = next((each for each in registered.get("nodes") or [] if each["pid"] == node["pid"]), None)
    if found is None:
        return WOULD_NOT, str(registered.get("msg") or "its scratch node has ended")
    if not found["registered"]:
        return WOULD_NOT, found["msg"]
    if node["pid"] not in (ended.get("ended") or []):
        return WOULD_NOT, "its scratch node ended while it was registered"
    return WOULD, f"user {node['user']}, Erlang {node['program']}: {found['msg']}"


def words(step: str, result: Mapping[str, Any]) -> list[str]:
    """Lines for a person about a step. step: `started`, `lost`, `registered` or `absent`."""
    msg = str(result.get("msg", ""))
    if result.get("failed"):
        return [f"failed: {msg}"]
    if step == "started":
        nodes = result.get("scratch_nodes") or []
        return [f"{node['name'] or ', '.join(node['like'])}: {node['msg']}" for node in nodes] or [msg]
    if step != "registered":
        return [msg]
    lines = []
    for node in result.get("nodes") or []:
        lines.append(f"epmd_register found {node['name']} (pid {node['pid']}) {node['verdict']}: {node['msg']}")
    for daemon in result.get("daemons") or []:
        table = [f"name {name} at port {port}" for name, port in (daemon["names"] or {}).items()]
        lines += [f"epmd on port {daemon['port']} (pid {daemon['pid']}) has: {', '.join(table) or 'nothing'}"]
    return lines
