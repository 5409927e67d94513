# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations -> verdicts. Pure: what is known of a node and of its epmd goes in, nothing is asked. Private.

Standard: the table of verdicts in the documentation of `epmd_register`.
"""

from __future__ import annotations

from typing import Iterable

from .._host.command_line import CommandLine
from .._host.owners import Listener
from .._wire.epmd_client import State
from .records import Diagnosis, Finding, Lost, Observation

REGISTERED = "registered"
MISSING = "missing"
BORROWED = "borrowed"
CONFLICT = "conflict"
EPMD_DOWN = "epmd_down"
EPMD_UNRESPONSIVE = "epmd_unresponsive"
NOT_APPLICABLE = "not_applicable"
UNIDENTIFIED = "unidentified"

REPAIRABLE = (MISSING, EPMD_DOWN)
BLOCKED = (BORROWED, CONFLICT, EPMD_UNRESPONSIVE)
"""Somebody or something else is in the way: who, is said beside the verdict."""


def diagnose(observations: Iterable[Observation]) -> list[Finding]:
    """The verdict on each node."""
    return [Finding(observation, verdict_on(observation)) for observation in observations]


def verdict_on(seen: Observation) -> Diagnosis:
    """The verdict on one node."""
    if seen.obstacle is not None:
        return Diagnosis(UNIDENTIFIED, str(seen.obstacle))
    why = exemption(seen.vm.command_line)
    if why:
        return Diagnosis(NOT_APPLICABLE, why)
    if seen.listener is None:
        where = str(seen.trouble or "it listens nowhere")
        return Diagnosis(NOT_APPLICABLE, f"{where}, so no other node can connect to it")
    if seen.alive is None and seen.is_node is False:
        return Diagnosis(NOT_APPLICABLE, f"it was started without a name, and is no node now ({seen.trouble})")
    if seen.alive is None:
        return Diagnosis(UNIDENTIFIED, f"no node answers, {seen.trouble}")
    if seen.table.state is State.MUTE:
        return Diagnosis(EPMD_UNRESPONSIVE, f"epmd gives no table: {seen.table.trouble}")
    if seen.table.state is State.DOWN:
        return _without_epmd(seen, seen.alive, seen.listener)
    registered = seen.table.names.get(seen.alive)
    if registered is None:
        why = f"epmd has no name {seen.alive}"
        return Diagnosis(MISSING, why, Lost(seen, seen.alive, seen.listener, why))
    if registered != seen.port:
        return Diagnosis(
            CONFLICT,
            f"epmd has the name {seen.alive} with port {registered}, but the node listens on port {seen.port}",
        )
    if seen.holds is False:
        return Diagnosis(
            BORROWED,
            f"epmd has the name {seen.alive}, but not from the node itself: it goes when its holder goes",
        )
    return Diagnosis(REGISTERED, f"epmd has the name {seen.alive} with port {registered}")


def exemption(command_line: CommandLine) -> str:
    """Why a node that was started like this has no use for epmd; empty where it has."""
    if command_line.epmd_module not in (None, "erl_epmd"):
        return f"it finds other nodes with its own -epmd_module {command_line.epmd_module}"
    if command_line.no_epmd:
        return f"it runs with {command_line.no_epmd}, so it uses no epmd"
    if not command_line.listens:
        return "it runs with -dist_listen false or with a name lent by another node, so no other node can connect to it"
    return ""


def _without_epmd(seen: Observation, alive: str, listener: Listener) -> Diagnosis:
    port = seen.vm.command_line.erl_epmd_port
    if port is not None:
        return Diagnosis(NOT_APPLICABLE, f"it runs with -erl_epmd_port {port}, and there is no epmd: it needs none")
    why = f"epmd is down: {seen.table.trouble}" if seen.table.trouble else "epmd is down"
    return Diagnosis(EPMD_DOWN, why, Lost(seen, alive, listener, why))
