# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the records of a run, once, at its end: result, sentences, warnings, tables before and after. Private.

Standard: RETURN in the documentation of `epmd_register` and `epmd_facts`.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .._host import systemd
from .._legible import all_legible, legible
from .._options import Options, agrees
from .._record import Record
from .._wire.epmd_client import State, Table
from . import diagnose
from .records import Epmd, Finding, Observation


class Outcome(Record):
    """What the modules return. reason: of a failure, for programs; empty where there is none."""

    changed: bool
    failed: bool
    msg: str
    nodes: list[dict[str, Any]]
    daemons: list[dict[str, Any]]
    missing: list[str]
    reason: str
    diff: dict[str, str]
    warnings: list[str]


class _Failure(Record):
    sentence: str
    reason: str


def missing(findings: Sequence[Finding], options: Options) -> list[str]:
    """The names that the user gave and no node has."""
    running = [name for name in (_name(finding.observation, options) for finding in findings) if name]
    return [wanted for wanted in options.name if not any(_is_meant(wanted, name) for name in running)]


def _is_meant(wanted: str, name: str) -> bool:
    """Whether the user means the node of this name, whose host may not be known."""
    return agrees(wanted, name) or name == wanted.partition("@")[0]


def outcome(
    findings: Sequence[Finding],
    epmds: Sequence[Epmd],
    absent: Sequence[str],
    why_absent: Sequence[str],
    options: Options,
    is_prediction: bool,
) -> Outcome:
    """The result of a run.

    absent: names that the user gave and no node has; why_absent: sentences that explain it. is_prediction: whether this
    is check mode, and nothing was done.
    """
    failures: list[_Failure] = []
    warnings: list[str] = []
    for finding in findings:
        failure = _failure(finding, options, any_absent=bool(absent))
        if failure:
            failures.append(failure)
        elif finding.diagnosis.verdict in (diagnose.UNIDENTIFIED, diagnose.BORROWED):
            warnings.append(_sentence(finding, options))
    warnings += [warning for epmd in epmds for warning in _warnings(epmd)]
    failures += [_Failure(sentence, "not_running") for sentence in why_absent]
    nodes = [_node(finding, options) for finding in findings]
    reasons = {failure.reason for failure in failures}
    return Outcome(
        changed=any(node["changed"] for node in nodes),
        failed=bool(failures),
        msg="; ".join(legible(failure.sentence) for failure in failures) or _summary(nodes, is_prediction),
        nodes=all_legible(nodes),
        daemons=all_legible([_daemon(epmd) for epmd in epmds]),
        missing=all_legible(list(absent)),
        reason=reasons.pop() if len(reasons) == 1 else "several" if reasons else "",
        diff={
            "before": "".join(_rendered(epmd, epmd.before) for epmd in epmds),
            "after": "".join(_rendered(epmd, epmd.after) for epmd in epmds),
        },
        warnings=[legible(warning) for warning in warnings],
    )


def _failure(finding: Finding, options: Options, any_absent: bool) -> _Failure | None:
    """Why the module fails for this node; None where it does not."""
    observation, diagnosis, repair = finding
    sentence = _sentence(finding, options)
    if repair:
        return _Failure(sentence, repair.reason) if repair.reason else None
    if diagnosis.verdict in (diagnose.CONFLICT, diagnose.EPMD_UNRESPONSIVE):
        return _Failure(sentence, diagnosis.verdict)
    if diagnosis.verdict != diagnose.UNIDENTIFIED or not _must_be_known(observation, options, any_absent):
        return None
    return _Failure(sentence, getattr(observation.obstacle, "reason", diagnosis.verdict))


def _must_be_known(observation: Observation, options: Options, any_absent: bool) -> bool:
    """Whether it is a failure that a node can't be identified."""
    name = _name(observation, options)
    if name is None and options.name:
        # It may be one that the user named, as long as one of those is absent.
        return any_absent
    if observation.obstacle is None:
        return any(_is_meant(wanted, str(name)) for wanted in options.name)
    # A network namespace that can't be entered is a failure only for a user who named a node.
    return observation.entered or observation.vm.namespace is None or bool(options.name)


def _sentence(finding: Finding, options: Options) -> str:
    vm = finding.observation.vm
    name = _name(finding.observation, options) or "an Erlang VM"
    return f"{name}{f' (pid {vm.pid})' if vm.pid else ''}: {_msg(finding)}"


def _msg(finding: Finding) -> str:
    return finding.repair.msg if finding.repair else finding.diagnosis.msg


def _name(observation: Observation, options: Options) -> str | None:
    """The name of a node. With a port there is exactly one name, and the user means what is at that port."""
    return observation.known_name or (options.name[0] if options.port is not None else None)


def _node(finding: Finding, options: Options) -> dict[str, Any]:
    observation, diagnosis, repair = finding
    vm = observation.vm
    held = diagnosis.verdict in (diagnose.REGISTERED, diagnose.BORROWED)
    return {
        "name": _name(observation, options),
        "pid": vm.pid,
        "user": vm.user,
        "hidden": vm.command_line.hidden,
        "epmd_port": observation.daemon.port,
        "namespace": vm.namespace,
        "address": observation.listener.address if observation.listener else None,
        "port": observation.port,
        "tls": observation.tls,
        "verdict": diagnosis.verdict,
        "registered": repair.registered if repair else held,
        "changed": bool(repair and repair.changed),
        "msg": _msg(finding),
    }


def _daemon(epmd: Epmd) -> dict[str, Any]:
    return {
        "port": epmd.key.daemon.port,
        "addresses": list(epmd.addresses),
        "pid": epmd.pid,
        "user": epmd.user,
        "unit": epmd.unit,
        "in_application_unit": epmd.in_application_unit,
        "state": epmd.after.state.value,
        "names": dict(epmd.after.names) if epmd.after.state is State.UP else None,
        "msg": _trouble(epmd.after) or epmd.stranger or _risk(epmd),
        "foreign": [foreign._asdict() for foreign in epmd.foreign] if epmd.after.state is State.UP else None,
        "namespace": epmd.key.namespace,
        "started": epmd.started,
    }


def _trouble(table: Table) -> str:
    """Why there is no table; empty where there is one."""
    down = f"epmd is down: {table.trouble}" if table.trouble else "epmd is down"
    return {State.UP: "", State.DOWN: down, State.MUTE: f"epmd gives no table: {table.trouble}"}[table.state]


def _risk(epmd: Epmd) -> str:
    """With what an epmd ends that is none of its own; empty where it has a unit of its own."""
    cure = "the role beamops.epmd.epmd_service gives it a unit of its own"
    return f"it ends with {epmd.unit}, and all of its names with it: {cure}" if epmd.in_application_unit else ""


def _warnings(epmd: Epmd) -> list[str]:
    """What is wrong with an epmd that answers."""
    found = []
    if epmd.stranger:
        found.append(f"{epmd.stranger}: the names of the nodes are in its table")
    if epmd.started and systemd.is_session(epmd.unit):
        found.append(
            f"the epmd that was started on port {epmd.key.daemon.port} (pid {epmd.pid}) belongs to a login "
            f"({epmd.unit}) and may end with it (KillUserProcesses in logind.conf): run with become"
        )
    return found


def _rendered(epmd: Epmd, table: Table) -> str:
    """A table as `epmd -names` prints it."""
    namespace, daemon = epmd.key
    where = f"in network namespace {namespace}:\n" if namespace is not None else ""
    if table.state is State.DOWN:
        return f"{where}epmd: Cannot connect to local epmd\n"
    if table.state is State.MUTE:
        return f"{where}epmd: no table on port {daemon.port}: {legible(table.trouble)}\n"
    return f"{where}epmd: up and running on port {daemon.port} with data:\n{listed(table.names)}"


def listed(names: Mapping[str, int]) -> str:
    """The names of a table with their ports, a line each, as `epmd -names` prints them."""
    return "".join(f"name {legible(name)} at port {port}\n" for name, port in sorted(names.items()))


def _summary(nodes: Sequence[dict[str, Any]], is_prediction: bool) -> str:
    if not nodes:
        from .._host import processes

        return "no Erlang node runs here" + processes.hidden()
    changed = [legible(str(node["name"])) for node in nodes if node["changed"]]
    if changed:
        return f"{'would register' if is_prediction else 'registered'}: {', '.join(changed)}"
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node["verdict"]] = counts.get(node["verdict"], 0) + 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "; nothing to do"
