# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the records of a run: result, failure with its reason, warnings, tables before and after.

For `_steps/records.py`, too: its tuples do nothing by themselves.
"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import report
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import (
    Diagnosis,
    Epmd,
    EpmdKey,
    Finding,
    Foreign,
    Observation,
    Repair,
)
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Outcome
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table

DAEMON = Daemon("127.0.0.1", 4369)
TABLE = Table(State.UP, {"vic": 4711})
MUTE = Table(State.MUTE, {}, "no answer within 5 s")


def node(verdict: str, name: str | None = "vic@h", repair: Repair | None = None, **changes: Any) -> Finding:
    observation = Observation(
        vms.UNKNOWN._replace(pid=11, user="vic"),
        DAEMON,
        tls=False,
        listener=Listener(3, "0.0.0.0", 4711, 128),
        name=name,
        table=TABLE,
    )
    return Finding(observation._replace(**changes), Diagnosis(verdict, "seen"), repair)


def outcome(*findings: Finding, epmds: list[Epmd] | None = None, names: list[str] | None = None) -> Outcome:
    options = Options(names or [])
    absent = report.missing(findings, options)
    why = [f"{name}: no such node runs here" for name in absent]
    return report.outcome(findings, epmds or [], absent, why, options, is_prediction=False)


def test_a_healthy_node_is_no_failure() -> None:
    found = outcome(node("registered"))
    assert (found.changed, found.failed, found.reason, found.warnings) == (False, False, "", [])
    assert found.msg == "1 registered; nothing to do"
    assert found.nodes == [
        {
            "name": "vic@h",
            "pid": 11,
            "user": "vic",
            "hidden": False,
            "epmd_port": 4369,
            "namespace": None,
            "address": "0.0.0.0",
            "port": 4711,
            "tls": False,
            "verdict": "registered",
            "registered": True,
            "changed": False,
            "msg": "seen",
        }
    ]


@pytest.mark.parametrize("verdict", ["conflict", "epmd_unresponsive"])
def test_a_verdict_that_is_a_failure_is_its_reason(verdict: str) -> None:
    found = outcome(node(verdict))
    assert (found.failed, found.reason, found.msg) == (True, verdict, "vic@h (pid 11): seen")


def test_a_borrowed_name_is_a_warning() -> None:
    found = outcome(node("borrowed"))
    assert (found.failed, found.warnings) == (False, ["vic@h (pid 11): seen"])
    assert found.nodes[0]["registered"]


def test_a_repair_that_failed_gives_its_reason_and_one_that_did_not_gives_none() -> None:
    good = Repair(True, True, "registered", TABLE)
    found = outcome(node("missing", repair=good))
    assert (found.changed, found.failed, found.reason, found.msg) == (True, False, "", "registered: vic@h")
    bad = Repair(False, False, "no cookie at /x", TABLE, reason="no_cookie")
    found = outcome(node("missing", repair=bad), node("missing", "wim@h", repair=good))
    assert (found.changed, found.failed, found.reason) == (True, True, "no_cookie")
    assert found.msg == "vic@h (pid 11): no cookie at /x"


def test_failures_for_different_reasons_have_several() -> None:
    found = outcome(node("conflict"), node("epmd_unresponsive", "wim@h"))
    assert found.reason == "several"


def test_a_name_that_nobody_has_is_missing() -> None:
    found = outcome(node("registered"), names=["vic", "wim@h", "xan"])
    assert (found.failed, found.missing, found.reason) == (True, ["wim@h", "xan"], "not_running")


@pytest.mark.parametrize(
    ("names", "name", "obstacle", "namespace", "reason"),
    [
        # One that answers nothing fails only for a user who named it, or who named one that is absent.
        ([], "vic@h", None, None, ""),
        (["vic"], "vic@h", None, None, "unidentified"),
        ([], None, None, None, ""),
        (["vic"], None, None, None, "several"),
        # One that may not be looked at fails.
        ([], "vic@h", NotPermitted("become"), None, "not_permitted"),
        ([], None, NotPermitted("become"), None, "not_permitted"),
        # One whose network namespace can't be entered fails only for a user who named a node.
        ([], "vic@h", NotPermitted("become"), 7, ""),
        (["vic"], "vic@h", NotPermitted("become"), 7, "not_permitted"),
        # A defect of ours, too.
        ([], "vic@h", OSError(28, "No space left on device"), None, "unidentified"),
    ],
)
def test_a_node_that_can_not_be_identified(
    names: list[str], name: str | None, obstacle: Exception | None, namespace: int | None, reason: str
) -> None:
    finding = node("unidentified", name, obstacle=obstacle, entered=namespace is None)
    vm = finding.observation.vm._replace(namespace=namespace)
    found = outcome(finding._replace(observation=finding.observation._replace(vm=vm)), names=names)
    assert (found.failed, found.reason) == (bool(reason), reason)
    assert bool(found.warnings) != bool(reason)


def test_a_vm_without_a_name_is_only_a_warning_while_all_that_were_named_are_there() -> None:
    found = outcome(node("registered"), node("unidentified", None), names=["vic"])
    assert (found.failed, found.warnings) == (False, ["an Erlang VM (pid 11): seen"])


@pytest.mark.parametrize(
    ("table", "state", "names", "msg", "shown"),
    [
        (TABLE, "up", {"vic": 4711}, "", "epmd: up and running on port 4369 with data:\nname vic at port 4711\n"),
        (DOWN, "down", None, "epmd is down", "epmd: Cannot connect to local epmd\n"),
        (
            MUTE,
            "mute",
            None,
            "epmd gives no table: no answer within 5 s",
            "epmd: no table on port 4369: no answer within 5 s\n",
        ),
    ],
)
def test_a_table_that_is_not_known_is_never_an_empty_one(
    table: Table, state: str, names: dict[str, int] | None, msg: str, shown: str
) -> None:
    found = outcome(epmds=[Epmd(EpmdKey(None, DAEMON), DOWN, table, started=True, addresses=("0.0.0.0",))])
    (daemon,) = found.daemons
    assert (daemon["state"], daemon["names"], daemon["msg"], daemon["started"]) == (state, names, msg, True)
    assert daemon["foreign"] == (None if names is None else [])
    assert found.diff == {"before": "epmd: Cannot connect to local epmd\n", "after": shown}


def test_an_epmd_of_another_network_namespace_is_told_apart_in_the_diff() -> None:
    found = outcome(epmds=[Epmd(EpmdKey(7, DAEMON), DOWN, TABLE)])
    assert found.daemons[0]["namespace"] == 7
    assert found.diff["after"].startswith("in network namespace 7:\nepmd: up and running on port 4369")


def test_names_of_others_can_not_reach_the_terminal() -> None:
    evil = "evil\x1b[2J\nchanged=0"
    table = Table(State.UP, {evil: 1})
    epmd = Epmd(EpmdKey(None, DAEMON), table, table, foreign=(Foreign(evil, 1, None, evil),), unit=evil)
    line = command_line.parse(["beam.smp", "--", "-sname", evil], {})
    finding = node("conflict", None, vm=vms.UNKNOWN._replace(pid=11, user=evil, command_line=line))
    found = outcome(finding, epmds=[epmd], names=["wim" + evil])
    assert "\x1b" not in repr(found).replace("\\x1b", "\x1b")
    assert "evil?[2J?changed=0" in found.msg
    for text in found.diff.values():
        assert "name evil?[2J?changed=0 at port 1\n" in text


def test_who_answers_in_place_of_an_epmd_is_a_warning_and_in_the_result() -> None:
    epmd = Epmd(EpmdKey(None, DAEMON), TABLE, TABLE, addresses=("127.0.0.1",), stranger="port 4369 belongs to pid 7")
    found = outcome(node("registered"), epmds=[epmd])
    assert (found.failed, found.warnings) == (
        False,
        ["port 4369 belongs to pid 7: the names of the nodes are in its table"],
    )
    assert found.daemons[0]["msg"] == "port 4369 belongs to pid 7"


@pytest.mark.parametrize(
    ("unit", "started", "warns"),
    [("session-3.scope", True, True), ("session-3.scope", False, False), ("epmd.service", True, False)],
)
def test_an_epmd_that_was_started_in_a_login_is_a_warning(unit: str, started: bool, warns: bool) -> None:
    epmd = Epmd(EpmdKey(None, DAEMON), DOWN, TABLE, started=started, pid=7, unit=unit)
    found = outcome(node("epmd_down", repair=Repair(True, True, "", TABLE, started)), epmds=[epmd])
    assert [f"belongs to a login ({unit}) and may end with it" in warning for warning in found.warnings] == [
        True
    ] * warns


def test_what_is_known_of_an_epmd_that_is_down_is_told() -> None:
    table = Table(State.DOWN, {}, "systemd listens")
    found = outcome(node("epmd_down", table=table), epmds=[Epmd(EpmdKey(None, DAEMON), table, table)])
    assert (found.daemons[0]["state"], found.daemons[0]["msg"]) == ("down", "epmd is down: systemd listens")
