# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way for a host: find the nodes, and for each observe, diagnose, repair, prove.

Standard: "The way of the data" in the documentation. One node's failure never stops the others, and
one that does not answer does not delay them: several are worked on at once, each by a child. Nodes in a
network namespace of their own, as in a container, are worked on by children in there.

On most hosts every node is registered, and a target compiles every room that is imported each time
anew: so those for the other cases are imported where they are needed.
"""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence, TypeVar

from ._deadline import Deadline
from ._errors import EpmdError
from ._host import listeners, processes
from ._host.processes import Vm
from ._legible import all_legible, legible
from ._limits import MARGIN_SECONDS
from ._options import Options, agrees, check
from ._steps import diagnose, observe
from ._steps.diagnose import Diagnosis
from ._steps.observe import Seen
from ._steps.report import Part, Report
from ._wire import epmd

if TYPE_CHECKING:
    from ._steps.repair import Repair

T = TypeVar("T")
U = TypeVar("U")


class Mode(enum.Enum):
    """How far to go: up to the verdict, up to what would be done, or all the way."""

    DIAGNOSE = "diagnose"
    PREDICT = "predict"
    REPAIR = "repair"


class Outcome(NamedTuple):
    """What the modules return; `daemons` only where the facts were asked for."""

    changed: bool
    failed: bool
    msg: str
    nodes: list[dict[str, Any]]
    epmd: list[dict[str, Any]]
    daemons: list[dict[str, Any]]
    diff: dict[str, str]
    warnings: list[str]


def ensure(options: Options, check_mode: bool) -> Outcome:
    """See to it that nodes are registered. Errors: EpmdError."""
    return _run(options, Mode.PREDICT if check_mode else Mode.REPAIR)


def diagnose(epmd_port: int | None, timeout: float) -> Outcome:
    """See how every node is, and change nothing. Errors: EpmdError."""
    return _run(Options([], epmd_port=epmd_port, timeout=timeout), Mode.DIAGNOSE)


def _run(options: Options, mode: Mode) -> Outcome:
    check(options)
    places: dict[int | None, list[Vm]] = {None: []}
    vms = _vms(options)
    for vm in vms:
        places.setdefault(vm.namespace, []).append(vm)
    if len(places) + len(vms) > 2:
        _import_rooms(tls=any(vm.said.tls for vm in vms))
    # The time for each node, and as much for each epmd where the facts are asked for.
    seconds = 2 * options.timeout * len(vms) + MARGIN_SECONDS
    outcomes = _at_once(lambda place: _look_after(options, mode, *place), list(places.items()), seconds)
    parts = [
        outcome if isinstance(outcome, Part) else _not_looked_after(options, mode, *place, str(outcome))
        for place, outcome in zip(places.items(), outcomes)
    ]
    whole = Part(*([item for part in parts for item in part[field]] for field in range(len(Part._fields))))  # type: ignore[arg-type]
    missing = _explain_missing(options, whole)
    # Who was asked for and is not found may be one of those that can't be identified.
    failures = [legible(failure) for failure in whole.failures + (whole.doubts if missing else []) + missing]
    return Outcome(
        changed=any(node["changed"] for node in whole.nodes),
        failed=bool(failures),
        msg="; ".join(failures) or _summary(whole.nodes, mode),
        nodes=all_legible(whole.nodes),
        epmd=all_legible(whole.epmd),
        daemons=all_legible(whole.daemons),
        diff={"before": "".join(whole.before), "after": "".join(whole.after)},
        warnings=[legible(warning) for warning in whole.warnings + ([] if missing else whole.doubts)],
    )


def _vms(options: Options) -> list[Vm]:
    if options.port is not None and (options.cookie is not None or options.cookie_file is not None):
        from ._host import owners  # noqa: PLC0415

        uid = owners.listening_uid(options.port)
        user = None if uid is None else processes.user_name(uid)
        executable = owners.listening_emulator(options.port)
        return [processes.UNKNOWN._replace(uid=uid, user=user, executable=executable)]
    vms = processes.find_vms()
    if options.port is None:
        return vms
    # Whose port it is decides whose cookie it gets; processes that hide their sockets can't be it.
    return [vm for vm in vms if vm.namespace is None and _listens(vm, options.port, options.epmd_port)]


def _listens(vm: Vm, port: int, epmd_port: int | None) -> bool:
    sockets = listeners.of(vm, observe.daemon_of(vm, epmd_port).port)
    return any(listener.port == port for listener in sockets.listeners)


def _import_rooms(tls: bool) -> None:
    """What all children will need is best compiled once."""
    from ._host import owners  # noqa: F401, PLC0415
    from ._steps import culprits, daemons, holder, repair, start_epmd  # noqa: F401, PLC0415
    from ._wire import control  # noqa: F401, PLC0415

    if tls:
        from ._wire import tls  # noqa: PLC0415


def _at_once(work: Callable[[T], U], items: Sequence[T], seconds: float) -> list[U | Exception]:
    """What the work gives for each, or its error, in their order; most of it is waiting."""
    if len(items) < 2:
        return [work(item) for item in items]
    from ._host import children  # noqa: PLC0415

    return children.at_once(work, items, seconds)


def _look_after(options: Options, mode: Mode, namespace: int | None, vms: list[Vm]) -> Part:
    """The nodes of a network namespace, which is entered for good; None is the one in which we are."""
    report, wanted = _begin(options, mode, namespace, vms)
    if namespace is not None and not _enter(wanted):
        return report.part()
    outcomes = _at_once(lambda vm: _handle(options, mode, vm), wanted, options.timeout + MARGIN_SECONDS)
    for vm, outcome in zip(wanted, outcomes):
        treated = outcome if isinstance(outcome, _Treated) else _Treated(vm, None, None, None, str(outcome))
        treated.tell(report)
    part = report.part()
    if mode is Mode.DIAGNOSE:
        expected = {epmd.DEFAULT_PORT, options.epmd_port or epmd.DEFAULT_PORT} if namespace is None else set()
        part = part._replace(daemons=report.daemons(expected))
    return part


def _not_looked_after(options: Options, mode: Mode, namespace: int | None, vms: list[Vm], trouble: str) -> Part:
    """The same where it came to nothing. A place of others fails only for whoever asked for a node."""
    report, wanted = _begin(options, mode, namespace, vms)
    for vm in wanted:
        report.add_unseen(vm, trouble, is_failure=namespace is None or bool(options.name))
    return report.part()


def _begin(options: Options, mode: Mode, namespace: int | None, vms: list[Vm]) -> tuple[Report, list[Vm]]:
    """What will tell of these nodes, and those of them that may have been asked for."""
    report = Report(options, namespace, foretold=mode is not Mode.REPAIR)
    wanted = [vm for vm in vms if _may_be_wanted(options, vm)]
    report.others += [str(vm.said.name) for vm in vms if vm not in wanted]
    return report, wanted


def _enter(vms: list[Vm]) -> bool:
    """Whether one of them still runs; its network namespace is ours from now on. Errors: NotPermitted."""
    from ._host import inside  # noqa: PLC0415

    for vm in vms:
        with contextlib.suppress(FileNotFoundError):  # this one has ended meanwhile
            inside.join_network(int(vm.pid or 0))
            return True
    return False


def _may_be_wanted(options: Options, vm: Vm) -> bool:
    """False only where the command line alone tells that this node was not asked for."""
    if vm.said.name is None or options.port is not None or not options.name:
        return True
    alive = vm.said.name.partition("@")[0]
    return any(agrees(wanted.partition("@")[0], alive) for wanted in options.name)


class _Treated(NamedTuple):
    """What came of one node; without `seen`, why it could not be looked at; without a diagnosis, nobody wants it."""

    vm: Vm
    seen: Seen | None
    diagnosis: Diagnosis | None
    outcome: Repair | None
    trouble: str = ""

    def tell(self, report: Report) -> None:
        """Put it into the report."""
        if self.seen is None:
            report.add_unseen(self.vm, self.trouble, is_failure=True)
        elif self.diagnosis is None:
            report.others.append(str(self.seen.observation.name or self.seen.observation.said_name))
        else:
            report.add(self.seen, self.diagnosis, self.outcome)


def _handle(options: Options, mode: Mode, vm: Vm) -> _Treated:
    deadline = Deadline(options.timeout)
    try:
        seen = observe.observe(vm, options, deadline)
    except EpmdError as error:
        return _Treated(vm, None, None, None, str(error))
    try:
        treated = _treat(options, mode, seen, deadline)
        return treated._replace(seen=seen._replace(connection=None))
    finally:
        if seen.connection:
            seen.connection.close()


def _treat(options: Options, mode: Mode, seen: Seen, deadline: Deadline) -> _Treated:
    observation = seen.observation
    known = observation.name or observation.said_name
    if known and not options.wants(known) and (observation.name or "@" in known):
        return _Treated(seen.vm, seen, None, None)
    diagnosis = diagnose.diagnose(observation)
    outcome = None
    if diagnosis.verdict in diagnose.REPAIRABLE and mode is not Mode.DIAGNOSE:
        outcome = _act(options, mode, seen, diagnosis, deadline)
    elif diagnosis.verdict in diagnose.IN_OTHER_HANDS:
        from ._steps import culprits  # noqa: PLC0415

        diagnosis = culprits.named(seen, diagnosis, deadline)
    return _Treated(seen.vm, seen, diagnosis, outcome)


def _act(options: Options, mode: Mode, seen: Seen, diagnosis: Diagnosis, deadline: Deadline) -> Repair:
    from ._steps import repair  # noqa: PLC0415

    try:
        ready = repair.prepare(seen, diagnosis, options, deadline)
    except EpmdError as error:
        return repair.failure(seen.observation, error)
    return repair.predict(seen) if mode is Mode.PREDICT else repair.repair(seen, ready, deadline)


def _explain_missing(options: Options, whole: Part) -> list[str]:
    """A sentence for each node that was asked for and does not run."""
    seen = [str(node["name"]) for node in whole.nodes if node["name"]]
    missing = [
        name
        for name in options.name
        if not any(agrees(name, other) or other == name.partition("@")[0] for other in seen)
    ]
    if not missing:
        return []
    from ._steps import missing  # noqa: PLC0415

    return missing.explain(missing, options, seen + whole.others, whole.epmd)


def _summary(nodes: list[dict[str, Any]], mode: Mode) -> str:
    if not nodes:
        return "no Erlang node runs here" + processes.hidden()
    changed = [str(node["name"]) for node in nodes if node["changed"]]
    if changed:
        return f"{'would register' if mode is Mode.PREDICT else 'registered'}: {', '.join(changed)}"
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node["verdict"]] = counts.get(node["verdict"], 0) + 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "; nothing to do"
