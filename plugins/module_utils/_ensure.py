# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""The whole way for a host: find the nodes, and for one after the other observe, diagnose, repair, prove.

Standard: "The way of the data" in the documentation. One node's failure never stops the others.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _diagnosis, _epmd, _listeners, _observation, _processes
from ._diagnosis import Diagnosis
from ._epmd_client import Daemon
from ._errors import EpmdError
from ._observation import Seen
from ._processes import Vm
from ._transport import Deadline

if TYPE_CHECKING:
    from ._repair import Repair

MAX_TIMEOUT = 3600
"""Seconds for one node; a longer wait is no check."""


class Mode(enum.Enum):
    """How far to go: up to the verdict, up to what would be done, or all the way."""

    DIAGNOSE = "diagnose"
    PREDICT = "predict"
    REPAIR = "repair"


class Options(NamedTuple):
    """The options of the module, as its documentation has them."""

    name: list[str]
    port: int | None
    cookie: str | None
    cookie_file: str | None
    epmd_port: int | None
    start_epmd: bool
    timeout: float


class Tables(NamedTuple):
    """What an epmd had at first and what it has at last; None is an epmd that is down."""

    before: dict[str, int] | None
    after: dict[str, int] | None
    started: bool


class Outcome(NamedTuple):
    """What the module returns."""

    changed: bool
    failed: bool
    msg: str
    nodes: list[dict[str, Any]]
    epmd: list[dict[str, Any]]
    diff: dict[str, str]
    warnings: list[str]


def check(options: Options) -> None:
    """Refuse what can't be meant. Errors: EpmdError."""
    for name in options.name:
        alive, at, host = name.partition("@")
        if name.count("@") > 1 or not alive or (at and not host):
            raise EpmdError(f"name {name!r} is no node name: give ejabberd, or ejabberd@host")
        if len(alive.encode("utf-8", "surrogateescape")) > _epmd.MAX_NAME_BYTES:
            raise EpmdError(f"name {name[:20]}... has more than {_epmd.MAX_NAME_BYTES} bytes, which no epmd can hold")
    if options.port is not None and len(options.name) != 1:
        raise EpmdError(f"port {options.port} is for exactly one node, but name has {len(options.name)}: give one name")
    for option, port in (("port", options.port), ("epmd_port", options.epmd_port)):
        if port is not None and not 0 < port < 65536:
            raise EpmdError(f"{option} {port} is no TCP port: give 1 to 65535")
    if not 0 < options.timeout <= MAX_TIMEOUT:  # which NaN is not, either
        raise EpmdError(f"timeout {options.timeout:g} is no time to wait: give seconds above 0, up to {MAX_TIMEOUT}")


class Ensure:
    """One run over one host."""

    def __init__(self, options: Options, mode: Mode) -> None:
        self.options = options
        self.mode = mode
        self.nodes: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.warnings: list[str] = []
        self.tables: dict[Daemon, Tables] = {}
        self.others: list[str] = []

    def run(self) -> Outcome:
        """Do it all. Errors: EpmdError for options that can't be meant, or where nothing can be found."""
        check(self.options)
        for vm in self._vms():
            self._handle(vm)
        self._miss()
        return self._outcome()

    def _vms(self) -> list[Vm]:
        options = self.options
        if options.port is not None and (options.cookie is not None or options.cookie_file is not None):
            uid = _listeners.listening_uid(options.port)
            return [_processes.UNKNOWN._replace(uid=uid, user=None if uid is None else _processes.user_name(uid))]
        vms = _processes.find_vms()
        if options.port is None:
            return vms
        # Whose port it is decides whose cookie it gets; processes that hide their sockets can't be it.
        return [vm for vm in vms if self._listens(vm, options.port)]

    def _listens(self, vm: Vm, port: int) -> bool:
        epmd_port = _observation.daemon_of(vm, self.options.epmd_port).port
        return any(listener.port == port for listener in _listeners.of(vm, epmd_port).listeners)

    def _wanted(self, name: str) -> bool:
        return not self.options.name or any(_diagnosis.agrees(wanted, name) for wanted in self.options.name)

    def _may_be_wanted(self, vm: Vm) -> bool:
        """False only where the command line alone tells that this node was not asked for."""
        if vm.said.name is None or self.options.port is not None:
            return True
        alive = vm.said.name.partition("@")[0]
        return not self.options.name or any(wanted.partition("@")[0] == alive for wanted in self.options.name)

    def _handle(self, vm: Vm) -> None:
        if not self._may_be_wanted(vm):
            self.others.append(str(vm.said.name))
            return
        deadline = Deadline(self.options.timeout)
        try:
            seen = _observation.observe(vm, self.options.epmd_port, self.options.port, deadline)
        except EpmdError as error:
            self.failures.append(f"{vm.said.name or 'an Erlang VM'} (pid {vm.pid}): {error}")
            self._report(vm, None, Diagnosis(_diagnosis.UNIDENTIFIED, str(error)), None)
            return
        try:
            self._treat(seen, deadline)
        finally:
            if seen.connection:
                seen.connection.close()

    def _treat(self, seen: Seen, deadline: Deadline) -> None:
        observation = seen.observation
        known = observation.name or observation.said_name
        if known and not self._wanted(known) and (observation.name or "@" in known):
            self.others.append(known)
            return
        diagnosis = _diagnosis.diagnose(observation)
        names = observation.table.names
        outcome = None
        if diagnosis.verdict in _diagnosis.REPAIRABLE and self.mode is not Mode.DIAGNOSE:
            outcome = self._act(seen, diagnosis, deadline)
        if observation.port is not None and diagnosis.verdict != _diagnosis.NOT_APPLICABLE:
            self._note_table(seen.daemon, names, outcome)
        self._report(seen.vm, seen, diagnosis, outcome)

    def _act(self, seen: Seen, diagnosis: Diagnosis, deadline: Deadline) -> Repair:
        # Here and not above: a healthy host, which is the usual one, need not compile it.
        from . import _repair  # noqa: PLC0415

        options = self.options
        try:
            ready = _repair.prepare(seen, diagnosis, options.cookie, options.cookie_file, options.start_epmd)
        except EpmdError as error:
            return _repair.failure(seen.observation, error)
        return _repair.predict(seen) if self.mode is Mode.PREDICT else _repair.repair(seen, ready, deadline)

    def _note_table(self, daemon: Daemon, names: dict[str, int] | None, outcome: Repair | None) -> None:
        known = self.tables.get(daemon, Tables(names, names, False))
        after = outcome.names if outcome else names
        if self.mode is not Mode.REPAIR:
            # What was foretold for one node is not there yet when the next is looked at.
            after = {**(known.after or {}), **(after or {})} if (known.after, after) != (None, None) else None
        self.tables[daemon] = Tables(known.before, after, known.started or bool(outcome and outcome.started_epmd))

    def _report(
        self,
        vm: Vm,
        seen: Seen | None,
        diagnosis: Diagnosis,
        outcome: Repair | None,
    ) -> None:
        name = vm.said.name
        if seen:
            name = seen.observation.name or name
        if name is None and self.options.port is not None:
            name = self.options.name[0]
        msg = self._message(seen, diagnosis, outcome)
        self.nodes.append(
            {
                "name": name,
                "pid": vm.pid,
                "user": vm.user,
                "address": seen.listener.address if seen and seen.listener else None,
                "port": seen.observation.port if seen else None,
                "tls": vm.said.tls,
                "hidden": vm.said.hidden,
                "epmd_port": _observation.daemon_of(vm, self.options.epmd_port).port,
                "verdict": diagnosis.verdict,
                "registered": outcome.registered
                if outcome
                else diagnosis.verdict in (_diagnosis.REGISTERED, _diagnosis.BORROWED),
                "changed": bool(outcome and outcome.changed),
                "msg": msg,
            }
        )
        sentence = f"{name or 'an Erlang VM'}{f' (pid {vm.pid})' if vm.pid else ''}: {msg}"
        if (outcome and outcome.failed) or (seen and self._is_failure(diagnosis.verdict, name)):
            self.failures.append(sentence)
        elif seen and diagnosis.verdict in (_diagnosis.UNIDENTIFIED, _diagnosis.BORROWED):
            self.warnings.append(sentence)

    def _is_failure(self, verdict: str, name: str | None) -> bool:
        """Whether a verdict alone is one: what can't be identified only if the user asked for it."""
        if verdict == _diagnosis.UNIDENTIFIED:
            return bool(self.options.name) and (name is None or self._wanted(name))
        return verdict in (_diagnosis.CONFLICT, _diagnosis.EPMD_UNRESPONSIVE)

    def _message(self, seen: Seen | None, diagnosis: Diagnosis, outcome: Repair | None) -> str:
        if outcome:
            return outcome.msg
        if seen is None or not _processes.HAS_PSUTIL:
            return diagnosis.msg
        culprits = self._culprits(seen, diagnosis)
        return f"{diagnosis.msg}; {culprits}" if culprits else diagnosis.msg

    @staticmethod
    def _culprits(seen: Seen, diagnosis: Diagnosis) -> str:
        """Who is in the way: processes, for a person."""
        daemon, own = seen.daemon, seen.vm.pid
        if diagnosis.verdict == _diagnosis.EPMD_UNRESPONSIVE:
            pids, what = _listeners.listening_pids(daemon.port), f"port {daemon.port} belongs to"
        elif diagnosis.verdict == _diagnosis.CONFLICT:
            port = (seen.observation.table.names or {}).get(str(seen.observation.alive), 0)
            pids, what = _listeners.listening_pids(port), f"port {port} belongs to"
            if not pids:
                pids, what = _listeners.holding_pids(daemon.port), "connected to epmd are"
        elif diagnosis.verdict == _diagnosis.BORROWED:
            pids, what = _listeners.holding_pids(daemon.port), "connected to epmd are"
        else:
            return ""
        named = [_processes.describe(pid) for pid in pids if pid != own]
        return f"{what} {', '.join(named)}" if named else "its holder can't be seen: run with become"

    def _miss(self) -> None:
        """Fail for what was asked for and does not run."""
        seen = [str(node["name"]) for node in self.nodes if node["name"]]
        missing = [
            name
            for name in self.options.name
            if not any(_diagnosis.agrees(name, other) or other == name.partition("@")[0] for other in seen)
        ]
        if not missing:
            return
        if self.options.port is not None:
            where = f"port {self.options.port} does not belong to it"
        else:
            where = "no such node runs here"
        running = sorted(set(seen + self.others))
        listed = f"running: {', '.join(running)}" if running else "no Erlang node is running"
        self.failures.append(f"{', '.join(missing)}: {where}; {listed}")

    def _outcome(self) -> Outcome:
        changed = any(node["changed"] for node in self.nodes)
        return Outcome(
            changed=changed,
            failed=bool(self.failures),
            msg="; ".join(self.failures) or self._summary(),
            nodes=self.nodes,
            epmd=[
                {
                    "port": daemon.port,
                    "pid": _listeners.epmd_pid(daemon.port) if _processes.HAS_PSUTIL else None,
                    "started": tables.started,
                    "names": tables.after or {},
                }
                for daemon, tables in self.tables.items()
            ],
            diff={
                "before": "".join(_epmd.render(daemon.port, tables.before) for daemon, tables in self.tables.items()),
                "after": "".join(_epmd.render(daemon.port, tables.after) for daemon, tables in self.tables.items()),
            },
            warnings=self.warnings,
        )

    def _summary(self) -> str:
        if not self.nodes:
            return "no Erlang node runs here"
        changed = [str(node["name"]) for node in self.nodes if node["changed"]]
        if changed:
            return f"{'would register' if self.mode is Mode.PREDICT else 'registered'}: {', '.join(changed)}"
        counts: dict[str, int] = {}
        for node in self.nodes:
            counts[node["verdict"]] = counts.get(node["verdict"], 0) + 1
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "; nothing to do"


def ensure(options: Options, check_mode: bool) -> Outcome:
    """See to it that nodes are registered. Errors: EpmdError."""
    return Ensure(options, Mode.PREDICT if check_mode else Mode.REPAIR).run()


def diagnose(epmd_port: int | None, timeout: float) -> Outcome:
    """See how every node is, and change nothing. Errors: EpmdError."""
    return Ensure(Options([], None, None, None, epmd_port, False, timeout), Mode.DIAGNOSE).run()
