# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of the nodes of one network namespace: results, sentences, tables before and after.

Standard: RETURN in the documentation of `epmd_register`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._deadline import Deadline
from .._host import listeners, processes
from .._host.processes import Vm
from .._options import Options
from .._wire import epmd, epmd_client
from .._wire.epmd_client import Daemon
from . import diagnose, observe
from .diagnose import Diagnosis
from .observe import Seen

if TYPE_CHECKING:
    from .repair import Repair


class Part(NamedTuple):
    """What came of the nodes of one network namespace.

    doubts: failures of VMs without a name, any of which may be a node that was asked for, or not. others: names of
    nodes that were not asked for.
    """

    nodes: list[dict[str, Any]]
    epmd: list[dict[str, Any]]
    daemons: list[dict[str, Any]]
    before: list[str]
    after: list[str]
    failures: list[str]
    warnings: list[str]
    doubts: list[str]
    others: list[str]


class _Tables(NamedTuple):
    """What an epmd had at first and what it has at last; None is an epmd that is down."""

    before: dict[str, int] | None
    after: dict[str, int] | None
    started: bool


class Report:
    """Collects what is seen and done, node by node; `foretold` where nothing is really done."""

    def __init__(self, options: Options, namespace: int | None, foretold: bool) -> None:
        self.options = options
        self.others: list[str] = []
        self._namespace = namespace
        self._foretold = foretold
        self._nodes: list[dict[str, Any]] = []
        self._failures: list[str] = []
        self._warnings: list[str] = []
        self._doubts: list[str] = []
        self._tables: dict[Daemon, _Tables] = {}
        self._touched: set[Daemon] = set()

    def add(self, seen: Seen, diagnosis: Diagnosis, outcome: Repair | None) -> None:
        """A node that was looked at, and what was done for it if anything."""
        observation = seen.observation
        if observation.port is not None and diagnosis.verdict != diagnose.NOT_APPLICABLE:
            self._note_table(seen.daemon, observation.table.names, outcome)
        name = observation.name or observation.said_name or self._only_name()
        msg = outcome.msg if outcome else diagnosis.msg
        registered = diagnosis.verdict in (diagnose.REGISTERED, diagnose.BORROWED)
        self._nodes.append(
            {
                **self._of_vm(seen.vm, name),
                "address": seen.listener.address if seen.listener else None,
                "port": observation.port,
                "tls": seen.tls,
                "verdict": diagnosis.verdict,
                "registered": outcome.registered if outcome else registered,
                "changed": bool(outcome and outcome.changed),
                "msg": msg,
            }
        )
        if (outcome and outcome.failed) or self._is_failure(diagnosis.verdict, name):
            self._add_failure(seen.vm, name, msg)
        elif diagnosis.verdict in (diagnose.UNIDENTIFIED, diagnose.BORROWED):
            self._warnings.append(_sentence(seen.vm, name, msg))

    def add_unseen(self, vm: Vm, msg: str, is_failure: bool) -> None:
        """A node that could not even be looked at."""
        name = vm.said.name or self._only_name()
        self._nodes.append(
            {
                **self._of_vm(vm, name),
                "address": None,
                "port": None,
                "tls": vm.said.tls,
                "verdict": diagnose.UNIDENTIFIED,
                "registered": False,
                "changed": False,
                "msg": msg,
            }
        )
        if is_failure:
            self._add_failure(vm, name, msg)
        else:
            self._warnings.append(_sentence(vm, name, msg))

    def part(self) -> Part:
        """All of it. Asks for the processes of the epmds, and again for the tables that were changed."""
        for daemon in self._touched if len(self._nodes) > 1 else ():
            # One was looked at while another was worked on, so that none has seen what there is now.
            table = epmd_client.ask_names(daemon, Deadline(self.options.timeout))
            if not table.trouble:
                self._tables[daemon] = self._tables[daemon]._replace(after=table.names)
        return Part(
            nodes=self._nodes,
            epmd=[
                {
                    "port": daemon.port,
                    "pid": listeners.epmd_pid(daemon.port) if processes.HAS_PSUTIL else None,
                    "started": tables.started,
                    "names": tables.after or {},
                    "namespace": self._namespace,
                }
                for daemon, tables in self._tables.items()
            ],
            daemons=[],
            before=[self._rendered(daemon, tables.before) for daemon, tables in self._tables.items()],
            after=[self._rendered(daemon, tables.after) for daemon, tables in self._tables.items()],
            failures=self._failures,
            warnings=self._warnings,
            doubts=self._doubts,
            others=self.others,
        )

    def daemons(self, ports: set[int]) -> list[dict[str, Any]]:
        """The epmds on these ports and of these nodes, with what keeps them alive."""
        # Here and not above, as in `_ensure.py`.
        from . import daemons  # noqa: PLC0415

        known = {daemon.port: tables.after for daemon, tables in self._tables.items()}
        held = {node["port"] for node in self._nodes}
        ports = ports | {node["epmd_port"] for node in self._nodes}
        found = (
            daemons.describe(port, known.get(port), held, self._namespace, self.options.timeout)
            for port in sorted(ports)
        )
        return [daemon for daemon in found if daemon]

    def _only_name(self) -> str | None:
        """With a port there is exactly one name, and it is meant for that port."""
        return self.options.name[0] if self.options.port is not None else None

    def _of_vm(self, vm: Vm, name: str | None) -> dict[str, Any]:
        return {
            "name": name,
            "pid": vm.pid,
            "user": vm.user,
            "hidden": vm.said.hidden,
            "epmd_port": observe.daemon_of(vm, self.options.epmd_port).port,
            "namespace": vm.namespace,
        }

    def _add_failure(self, vm: Vm, name: str | None, msg: str) -> None:
        kind = self._doubts if name is None and self.options.name else self._failures
        kind.append(_sentence(vm, name, msg))

    def _is_failure(self, verdict: str, name: str | None) -> bool:
        """Whether a verdict alone is one: what can't be identified only if the user asked for it."""
        if verdict == diagnose.UNIDENTIFIED:
            return bool(self.options.name) and (name is None or self.options.wants(name))
        return verdict in (diagnose.CONFLICT, diagnose.EPMD_UNRESPONSIVE)

    def _note_table(self, daemon: Daemon, names: dict[str, int] | None, outcome: Repair | None) -> None:
        known = self._tables.get(daemon, _Tables(names, names, False))
        after = outcome.names if outcome else names
        if self._foretold:
            # What was foretold for one node is not there yet when the next is looked at.
            after = {**(known.after or {}), **(after or {})} if (known.after, after) != (None, None) else None
        elif outcome:
            self._touched.add(daemon)
        self._tables[daemon] = _Tables(known.before, after, known.started or bool(outcome and outcome.started_epmd))

    def _rendered(self, daemon: Daemon, names: dict[str, int] | None) -> str:
        where = f"in network namespace {self._namespace}:\n" if self._namespace is not None else ""
        return where + epmd.render(daemon.port, names)


def _sentence(vm: Vm, name: str | None, msg: str) -> str:
    return f"{name or 'an Erlang VM'}{f' (pid {vm.pid})' if vm.pid else ''}: {msg}"
