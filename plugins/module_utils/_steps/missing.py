# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a node that was asked for is not there, in sentences: who has its name, and what runs instead.

Standard: `name` in the documentation of `epmd_register`.
"""

from __future__ import annotations

from typing import Any, Sequence

from .._deadline import Deadline
from .._host import owners, processes
from .._options import Options, agrees
from .._wire import epmd, epmd_client


def explain(missing: list[str], options: Options, names: list[str], daemons: Sequence[dict[str, Any]]) -> list[str]:
    """The sentences. missing: what was asked for. names: what runs. daemons: the epmds that were seen."""
    if options.port is not None:
        return [f"{', '.join(missing)}: port {options.port} does not belong to it; {_listed(names)}"]
    running = {name.partition("@")[0] for name in names}
    unknown = [name for name in missing if name.partition("@")[0] not in running]
    tables = _tables(options, daemons) if unknown else {}
    found = {name: _foreigner(name, tables) for name in unknown}
    failures = [f"{name}: {sentence}" for name, sentence in found.items() if sentence]
    absent = [name for name in missing if not found.get(name)]
    if absent:
        failures.append(f"{', '.join(absent)}: no such node runs here; {_listed(names)}")
    return failures


def _listed(names: list[str]) -> str:
    listed = f"running: {', '.join(sorted(set(names)))}" if names else "no Erlang node is running"
    return listed + processes.hidden()


def _tables(options: Options, daemons: Sequence[dict[str, Any]]) -> dict[int, dict[str, int]]:
    """The tables of the epmds of this network namespace, with the one that nodes use who say nothing else."""
    tables = {daemon["port"]: daemon["names"] for daemon in daemons if daemon["namespace"] is None}
    port = options.epmd_port or epmd.DEFAULT_PORT
    if port not in tables:
        daemon = epmd_client.Daemon("127.0.0.1", port)
        tables[port] = epmd_client.ask_names(daemon, Deadline(options.timeout)).names or {}
    return tables


def _foreigner(name: str, tables: dict[int, dict[str, int]]) -> str:
    """Who has a name at one of these epmds that no Erlang VM of this host goes by; empty where nobody has it."""
    alive = name.partition("@")[0]
    for found, port in ((found, port) for names in tables.values() for found, port in names.items()):
        if agrees(alive, found):
            owners = [processes.describe(pid) for pid in owners.listening_pids(port)]
            owner = f"belongs to {', '.join(owners)}" if owners else "belongs to nobody who can be seen"
            return f"epmd has this name with port {port}, which {owner}; no node of an Erlang VM goes by it"
    return ""
