# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations -> verdicts, for nodes whose port epmd does not have under their name. Pure. Private to the collection.

Standard: the table of verdicts in the documentation of `epmd_register`.
"""

from __future__ import annotations

from .._wire.epmd_client import State
from .records import (
    CONFLICT,
    EPMD_DOWN,
    EPMD_UNRESPONSIVE,
    MISSING,
    NOT_APPLICABLE,
    UNIDENTIFIED,
    Diagnosis,
    Lost,
    Observation,
)

REPAIRABLE = (MISSING, EPMD_DOWN)


def verdict_on(seen: Observation) -> Diagnosis:
    """The verdict on one node that is not registered."""
    if seen.obstacle is not None:
        return Diagnosis(UNIDENTIFIED, str(seen.obstacle))
    if seen.listener is None:
        return _without_listener(seen)
    if seen.name is None and (seen.is_node is False or seen.alive is None or _may_be_silent(seen)):
        return _unanswered(seen)
    line = seen.vm.command_line
    if line.erl_epmd_port is not None and not line.starts_epmd and not seen.connected:
        return Diagnosis(
            NOT_APPLICABLE,
            f"it runs with -erl_epmd_port {line.erl_epmd_port} -start_epmd false, has no connection to an epmd, "
            "and needs none",
        )
    alive = str(seen.alive)
    if seen.table.state is State.DOWN and line.erl_epmd_port is not None:
        return Diagnosis(
            NOT_APPLICABLE, f"it runs with -erl_epmd_port {line.erl_epmd_port}, and there is no epmd: it needs none"
        )
    verdict, why = _trouble(seen, alive)
    lost = Lost(seen, alive, seen.listener, why, line.without_epmd)
    return Diagnosis(verdict, why, lost if verdict in REPAIRABLE else None, lost if line.without_epmd else None)


def _without_listener(seen: Observation) -> Diagnosis:
    line = seen.vm.command_line
    if seen.unasked:
        ports = ", ".join(map(str, seen.unasked))
        return Diagnosis(
            UNIDENTIFIED,
            f"it listens only on ports that other services use (port {ports}), which were not asked: if one is its "
            "distribution port, give name, port and cookie_file",
        )
    if line.name is None:
        return Diagnosis(NOT_APPLICABLE, "it listens nowhere and was started without a name, so it is no node")
    if line.silent:
        return Diagnosis(
            NOT_APPLICABLE, f"it was started with {line.silent} and listens nowhere, so no other node can connect to it"
        )
    return Diagnosis(
        UNIDENTIFIED,
        f"it was started as {line.name} and listens nowhere, so no other node can connect to it and it can't be "
        "registered: it is writing its crash dump, or its distribution was stopped, or it is only starting or ending",
    )


def _may_be_silent(seen: Observation) -> bool:
    """Whether flags say that no node need answer here, so that a port that is silent may be anything."""
    return bool(seen.vm.command_line.without_epmd or seen.vm.command_line.silent)


def _unanswered(seen: Observation) -> Diagnosis:
    """No port answers as a node."""
    line = seen.vm.command_line
    ports = ", ".join(map(str, seen.unasked))
    also = f"; not asked, since other services use it: port {ports}" if ports else ""
    if seen.is_node is not False or (seen.unasked and line.name is None):
        return Diagnosis(UNIDENTIFIED, f"no node answers, {seen.trouble}{also}")
    if line.name is None:
        return Diagnosis(NOT_APPLICABLE, f"it was started without a name, and is no node now ({seen.trouble})")
    if line.silent and not seen.unasked:
        return Diagnosis(NOT_APPLICABLE, f"it was started with {line.silent}, and no node answers ({seen.trouble})")
    return Diagnosis(
        UNIDENTIFIED, f"it was started as {line.name}, and no node answers at its ports ({seen.trouble}){also}"
    )


def _trouble(seen: Observation, alive: str) -> tuple[str, str]:
    """The verdict on a node that epmd does not have with its port, and what was seen."""
    if seen.table.state is State.MUTE:
        return EPMD_UNRESPONSIVE, f"epmd gives no table: {seen.table.trouble}"
    if seen.table.state is State.DOWN:
        return EPMD_DOWN, f"epmd is down: {seen.table.trouble}" if seen.table.trouble else "epmd is down"
    registered = seen.table.names.get(alive)
    if registered is None:
        return MISSING, f"epmd has no name {alive}"
    return (
        CONFLICT,
        f"epmd has the name {alive} with port {registered}, but the node listens on port {seen.port}",
    )
