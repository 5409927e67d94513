# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces the epmd of this host by that of its own unit, with every name put back. Private to the collection.

Standard: the documentation of `epmd_restart`. Every node is connected to, and has proved its cookie, before the old
epmd is touched; over these connections the nodes register again. So no node sees more connections than of a repair, and
between the two epmds there is no more than has to be.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Any, Callable, Collection, Iterator, Sequence

from .._deadline import Deadline
from .._errors import EpmdError, NotPermitted, in_words
from .._host import epmd_units, processes, programs, systemd, vms
from .._host.vms import Vm
from .._legible import all_legible, legible
from .._options import Options, check
from .._record import Record
from .._wire import epmd as epmd_protocol
from .._wire import epmd_client
from .._wire.epmd_client import Daemon, State, Table
from .._words import number_of
from . import daemons, diagnose, observe, own_unit, prove, repair, report, tables
from .own_unit import Old, Owner
from .prove import Attempt
from .records import Epmd, Lost, Observation, Repair

LOCK = "/run/beamops-epmd-{port}.lock"
LOCK_POLL_SECONDS = 0.05


class WouldLose(EpmdError):
    """The old epmd has names that could not be put back."""

    reason = "would_lose"


class Differs(EpmdError):
    """The new epmd did not get every name."""

    reason = "names_lost"


class Busy(EpmdError):
    """Another run is at work on this epmd."""

    reason = "busy"


class NoSystemd(EpmdError):
    """This host has no systemd, whose units could own an epmd."""

    reason = "no_systemd"


class Wish(Record):
    """What is asked for.

    unit: the socket or the service that shall own epmd, None for the one that is found. restart: whether also an epmd
    that is as wished already is replaced. allow_lost: names that may be lost.
    """

    unit: str | None = None
    restart: bool = False
    allow_lost: tuple[str, ...] = ()


class Outcome(Record):
    """What the module returns. before, after: the tables of epmd, name to port. gap_ms: how long each name was gone."""

    changed: bool
    msg: str
    unit: str | None
    before: dict[str, int]
    after: dict[str, int]
    gap_ms: dict[str, float]
    lost: list[str]
    diff: dict[str, str]
    reason: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the module fails."""
        return bool(self.reason)

    def result(self) -> dict[str, Any]:
        """The documented values."""
        keys = ("changed", "msg", "unit", "before", "after", "gap_ms", "lost")
        return {key: all_legible(value) for key, value in self._asdict().items() if key in keys}


class _Seen(Record):
    """This host before the hand-over. epmd: None where none answers. vms: every Erlang VM.

    held: the nodes that have their name at it. lost: those that could have. refused: why a node that is looked at can't
    be registered, by its name.
    """

    port: int
    epmd: Epmd | None
    vms: list[Vm]
    held: list[Lost]
    lost: list[Lost]
    refused: dict[str, str]

    @property
    def names(self) -> dict[str, int]:
        """The table."""
        return dict(self.epmd.after.names) if self.epmd else {}


class _Ready(Record):
    """A node that has proved its cookie, and what has it register."""

    node: Lost
    register: Callable[[Deadline], Attempt]


def hand_over(wish: Wish, options: Options, is_prediction: bool) -> Outcome:
    """Replace the epmd on `options.epmd_port` where that is called for. Errors: EpmdError alone, legible."""
    try:
        check(options)
        if not systemd.is_booted():
            raise NoSystemd("systemd is not the init of this host (as in most containers), so no unit can own epmd")
        if os.geteuid() != 0:
            raise NotPermitted("only root may stop and start epmd: run with become")
        port = options.epmd_port or epmd_protocol.DEFAULT_PORT
        options = options._replace(epmd_port=port)
        if is_prediction:
            return _HandOver(wish, options).predict()
        with _alone(port, options.timeout):
            return _HandOver(wish, options).run()
    except Exception as error:
        raise in_words(error) from None


@contextlib.contextmanager
def _alone(port: int, seconds: float) -> Iterator[None]:
    """A block in which only one run on this host is, for each port. A run that is killed leaves it. Errors: Busy."""
    deadline = Deadline(seconds)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(LOCK.format(port=port), flags, 0o600), "rb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_POLL_SECONDS)
            if not deadline.unused():
                raise Busy(
                    f"another run has been replacing the epmd on port {port} for {seconds:g} s: wait for its end, and "
                    "run again"
                )
        yield


class _HandOver:
    """One run, from the look to the result."""

    def __init__(self, wish: Wish, options: Options) -> None:
        self.wish = wish
        self.options = options
        self.place = programs.host()

    def predict(self) -> Outcome:
        """What `run` would do."""
        seen = _look(self.options)
        owner = self._owner(seen, may_act=False)
        if self._is_settled(seen, owner):
            return self._registered(seen, owner, _repairs(seen.lost, self.options, repair.predict), True)
        candidates = [*seen.held, *seen.lost]
        repairs = _repairs(candidates, self.options, repair.predict)
        refused = {node.alive: ended.msg for node, ended in repairs if ended.reason}
        self._stop_if_lossy(seen, owner, refused)
        if seen.epmd:
            own_unit.old(seen.epmd, owner, self.place, self._deadline())
        after = {**seen.names, **{node.alive: node.listener.port for node in candidates if node.alive not in refused}}
        after = {name: port for name, port in after.items() if name not in {*seen.refused, *refused}}
        verb = "would be handed over to" if seen.epmd else "would be started in"
        msg = f"epmd on port {seen.port} {verb} {owner.name}, with {_listed(after)}"
        return self._outcome(seen, owner, after, {}, msg)

    def run(self) -> Outcome:
        """Do it."""
        seen = _look(self.options)
        owner = self._owner(seen, may_act=True)
        if self._is_settled(seen, owner):
            return self._registered(seen, owner, _repairs(seen.lost, self.options, repair.repair), False)
        with contextlib.ExitStack() as stack:
            ready, refused = self._prepare(stack, [*seen.held, *seen.lost])
            self._stop_if_lossy(seen, owner, refused)
            former = own_unit.old(seen.epmd, owner, self.place, self._deadline()) if seen.epmd else None
            return self._swap(seen, owner, former, ready, refused)

    def _deadline(self) -> Deadline:
        return Deadline(self.options.timeout)

    def _owner(self, seen: _Seen, may_act: bool) -> Owner:
        current = seen.epmd.unit if seen.epmd else None
        return own_unit.find(self.place, seen.port, self.wish.unit, current, self._deadline(), may_act)

    def _is_settled(self, seen: _Seen, owner: Owner) -> bool:
        return not self.wish.restart and seen.epmd is not None and own_unit.is_settled(owner, seen.epmd)

    def _registered(
        self, seen: _Seen, owner: Owner, repairs: Sequence[tuple[Lost, Repair]], is_prediction: bool
    ) -> Outcome:
        """The result where epmd stays: nodes that an earlier run may have left behind are registered."""
        after = dict(seen.names)
        for node, ended in repairs:
            if ended.registered or (is_prediction and not ended.reason):
                after[node.alive] = node.listener.port
        new = sorted(set(after) - set(seen.names))
        words = f"{'would register' if is_prediction else 'registered'} {_listed(new)}" if new else "nothing to do"
        msg = f"epmd on port {seen.port} lives in {owner.name} already; {words}"
        failures = [f"{node.alive}: {ended.msg}" for node, ended in repairs if ended.reason]
        outcome = self._outcome(seen, owner, after, {}, "; ".join([msg, *failures]))
        return outcome._replace(changed=bool(new), reason="not_registered" if failures else "")

    def _prepare(self, stack: contextlib.ExitStack, nodes: Sequence[Lost]) -> tuple[list[_Ready], dict[str, str]]:
        """Connect to every node, and have it prove its cookie. Those that did, and why the others did not."""
        deadline = self._deadline()
        ready, refused = [], {}
        for place, node in enumerate(nodes):
            try:
                share = deadline.share(len(nodes) - place)
                ready.append(_Ready(node, stack.enter_context(repair.prepared(node, self.options, share))))
            except EpmdError as error:
                refused[node.alive] = str(error)
        return ready, refused

    def _stop_if_lossy(self, seen: _Seen, owner: Owner, refused: dict[str, str]) -> None:
        """Errors: WouldLose, with the names that could not be put back, and nobody has given up."""
        if seen.epmd is None:
            return
        reasons = {**_foreign(seen), **seen.refused, **refused}
        if owner.unit is not None:
            for node in seen.held:
                asked = node.observation.daemon.address
                if not epmd_units.covers(owner.unit.addresses, asked):
                    reasons[node.alive] = f"its node asks {asked}, where {owner.name} would not listen"
        names = [name for name in sorted(seen.names) if name in reasons and name not in self.wish.allow_lost]
        if names:
            each = "; ".join(f"{name}: {reasons[name]}" for name in names)
            raise WouldLose(
                f"epmd on port {seen.port} was not touched, since {len(names)} of its names would be lost ({each}): "
                f"correct that, or give allow_lost={','.join(names)} and restart what has these names afterwards"
            )

    def _swap(
        self, seen: _Seen, owner: Owner, former: Old | None, ready: Sequence[_Ready], refused: dict[str, str]
    ) -> Outcome:
        daemon = _where(owner, ready, seen.port)
        needed = set(seen.names) - set(self.wish.allow_lost)
        began = time.monotonic()
        try:
            own_unit.replace(former, owner, self.place, daemon, self._deadline())
            repairs, gaps = _register(ready, began, self._deadline())
            failures = _failures(repairs, needed)
            if failures:
                raise Differs("; ".join(failures))
        except Exception as error:  # also a defect of ours: the old epmd is stopped by then
            if former is None:
                raise
            return self._put_back(seen, owner, former, ready, in_words(error))
        repairs += self._newcomers(seen)
        after = {node.alive: node.listener.port for node, ended in repairs if ended.registered}
        # Nodes that nobody saw before may be there as well.
        after = {**tables.ask(daemon, self._deadline()).names, **after}
        gaps = {name: gap for name, gap in gaps.items() if name in seen.names}
        left = {name: why for name, why in refused.items() if name not in after and name not in seen.names}
        verb = "was handed over to" if former else "was started in"
        msg = f"epmd on port {seen.port} {verb} {owner.name}; {_gaps(gaps)}"
        outcome = self._outcome(seen, owner, after, gaps, msg)
        if left:
            said = "; ".join(f"{name}: {why}" for name, why in sorted(left.items()))
            return outcome._replace(msg=f"{msg}; not registered: {said}", reason="not_registered")
        return outcome

    def _newcomers(self, seen: _Seen) -> list[tuple[Lost, Repair]]:
        """Register the nodes that were started since the look, and have found the old epmd, or none."""
        known = {vm.pid for vm in seen.vms}
        new = [vm for vm in _of_port(observe.find(self.options), seen.port) if vm.pid not in known]
        findings = diagnose.diagnose(observe.observe(new, self.options))
        lost = [finding.diagnosis.lost for finding in findings if finding.diagnosis.lost]
        return _repairs(lost, self.options, repair.repair)

    def _put_back(self, seen: _Seen, owner: Owner, former: Old, ready: Sequence[_Ready], error: EpmdError) -> Outcome:
        """The old epmd again, with its names, and the result that says so."""
        where = f"as it was ({former.epmd.unit})" if former.unit else "with the program and the addresses it had"
        began = time.monotonic()
        try:
            own_unit.put_back(former, owner, self.place, former.epmd.key.daemon, self._deadline())
            repairs, gaps = _register(ready, began, self._deadline())
            failures = _failures(repairs, set(seen.names))
        except EpmdError as again:
            repairs, gaps, failures = [], {}, [str(again)]
        after = {node.alive: node.listener.port for node, ended in repairs if ended.registered}
        how = f"but not with all names: {'; '.join(failures)}; run epmd_register" if failures else "with all its names"
        done = f"the old epmd was started again {where}, {how}"
        msg = f"the epmd on port {seen.port} could not be replaced: {error}; {done}"
        return self._outcome(seen, owner, after, gaps, msg)._replace(reason=error.reason)

    def _outcome(self, seen: _Seen, owner: Owner, after: dict[str, int], gaps: dict[str, float], msg: str) -> Outcome:
        lost = sorted(set(seen.names) - set(after))
        epmd = seen.epmd
        before_in = (epmd.unit or f"pid {epmd.pid}") if epmd else None
        unit = owner.unit
        after_at = sorted(unit.addresses) if unit else []
        warnings = [f"lost, as allow_lost has it: {', '.join(lost)}"] if lost else []
        return Outcome(
            changed=True,
            msg=legible(msg),
            unit=unit.name if unit else None,
            before=seen.names,
            after=dict(sorted(after.items())),
            gap_ms=gaps,
            lost=lost,
            diff={
                "before": _rendered(seen.port, before_in, epmd.addresses if epmd else (), seen.names),
                "after": _rendered(seen.port, owner.name, after_at, after),
            },
            warnings=tuple(map(legible, warnings)),
        )


def _look(options: Options) -> _Seen:
    """Look at the epmd and at all nodes. Errors: EpmdError, where there is not one epmd, or none."""
    port = options.epmd_port or epmd_protocol.DEFAULT_PORT
    found = observe.find(options)
    findings = diagnose.diagnose(observe.observe(_of_port(found, port), options))
    there = [epmd for epmd in daemons.describe([], [port], [], options.timeout) if epmd.after.state is not State.DOWN]
    for epmd in there:
        if epmd.pid is None or epmd.after.state is State.MUTE:
            trouble = epmd.stranger or epmd.after.trouble or "it can't be seen which process has it"
            raise _Unresponsive(f"port {port} is held by something that is not an epmd in good health: {trouble}")
    if len(there) > 1:
        each = "; ".join(f"pid {epmd.pid} at {', '.join(epmd.addresses)}" for epmd in there)
        raise own_unit.NotReplaceable(f"several epmds share port {port} ({each}): stop all but one, and run again")
    found_epmd = next(iter(there), None)
    names = found_epmd.after.names if found_epmd else {}
    held, lost, refused = [], [], {}
    for seen, diagnosis, _repair in findings:
        alive = seen.alive or ""
        if seen.listener and names.get(alive) == seen.port:
            if seen.name is None:
                refused[alive] = f"its node does not answer ({seen.trouble})"
            else:
                # As its new epmd will have it: without any name.
                empty = seen._replace(table=Table(State.UP, {}))
                held.append(Lost(empty, alive, seen.listener, f"epmd had the name {alive}"))
        elif diagnosis.lost:
            lost.append(diagnosis.lost)
        elif alive in names:
            refused[alive] = diagnosis.msg
    return _Seen(port, found_epmd, found, held, lost, refused)


class _Unresponsive(EpmdError):
    """Something has the port of epmd that is none."""

    reason = diagnose.EPMD_UNRESPONSIVE


def _of_port(found: Sequence[Vm], port: int) -> list[Vm]:
    """The nodes that use the epmd on this port of our own network namespace; the others are not bothered."""
    return [vm for vm in found if vm.namespace is None and observe.daemon_of(vm, port).port == port]


def _foreign(seen: _Seen) -> dict[str, str]:
    """Why a name belongs to no Erlang VM that could be asked to register it again."""
    own = {node.alive for node in seen.held} | set(seen.refused)
    foreign = {each.name: each for each in seen.epmd.foreign} if seen.epmd else {}
    reasons = {}
    for name, port in seen.names.items():
        if name not in own:
            pid = foreign[name].pid if name in foreign else None
            who = processes.describe(pid) if pid else "no process that can be seen"
            reasons[name] = f"port {port} belongs to {who}, and no Erlang node with this name and port runs here"
    return reasons


def _repairs(
    nodes: Sequence[Lost], options: Options, act: Callable[[Sequence[Lost], Options], list[Repair]]
) -> list[tuple[Lost, Repair]]:
    """The nodes with what became of them; without those that need no epmd, as they say themselves."""
    ended = zip(nodes, act(nodes, options)) if nodes else ()
    return [(node, each) for node, each in ended if each.reason != diagnose.NOT_APPLICABLE]


def _register(
    ready: Sequence[_Ready], began: float, deadline: Deadline
) -> tuple[list[tuple[Lost, Repair]], dict[str, float]]:
    """Have all of them register, and see at epmd that they have. How long each name was gone, in ms since `began`."""
    attempts, gaps = [], {}
    for place, (node, register) in enumerate(ready):
        daemon = node.observation.daemon
        attempt = Attempt(node, Table(State.UP, {}))
        try:
            share = deadline.share(len(ready) - place)
            attempt = register(share)
            table = epmd_client.confirm(daemon, attempt.table._replace(state=State.UP), node.alive, share)
            if table.names.get(node.alive) == node.listener.port:
                gaps[node.alive] = _since(began)
        except EpmdError as error:
            attempt = attempt._replace(error=error)
        attempts.append(attempt)
    repairs = list(zip([attempt.node for attempt in attempts], prove.prove(attempts)))
    for node, ended in repairs:
        if ended.registered:
            gaps.setdefault(node.alive, _since(began))
    return repairs, gaps


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


def _failures(repairs: Sequence[tuple[Lost, Repair]], needed: set[str]) -> list[str]:
    """Which of the names that are needed the new epmd does not have; those of nodes that have ended it need not."""
    missing = [(node, ended) for node, ended in repairs if node.alive in needed and not ended.registered]
    return [f"{node.alive}: {ended.msg}" for node, ended in missing if not _has_ended(node.observation)]


def _has_ended(observation: Observation) -> bool:
    return observation.vm.pid is not None and vms.has_ended(observation.vm.pid)


def _where(owner: Owner, ready: Sequence[_Ready], port: int) -> Daemon:
    """Where the new epmd has to answer: where a node asks, or else where it listens."""
    addresses = owner.unit.addresses if owner.unit else epmd_units.EVERYWHERE
    asked = [each.node.observation.daemon.address for each in ready]
    for address in [*asked, "127.0.0.1", "::1"]:
        if epmd_units.covers(addresses, address):
            return Daemon(address, port)
    return Daemon(min(addresses, default="127.0.0.1"), port)


def _listed(names: Collection[str]) -> str:
    return f"{number_of(len(names), 'name')} ({', '.join(sorted(names))})" if names else "no name"


def _gaps(gaps: dict[str, float]) -> str:
    if not gaps:
        return "it has no name of a node"
    return f"{_listed(gaps)} put back, each gone for {max(gaps.values()):g} ms at most"


def _rendered(port: int, unit: str | None, addresses: Sequence[str], names: dict[str, int]) -> str:
    """An epmd as a person compares it."""
    if unit is None:
        return f"epmd on port {port}: down\n"
    shown = sorted({*addresses, *(epmd_units.EVERYWHERE if "::" in addresses else ())})
    return f"epmd on port {port} in {unit} at {', '.join(shown)}, with data:\n{report.listed(names)}"
