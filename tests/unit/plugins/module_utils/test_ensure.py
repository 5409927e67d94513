# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of nodes that are not there, or that have names to deceive a person. Without Erlang."""

from __future__ import annotations

import os
import re
from typing import Any, Callable
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import diagnose, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    children,
    command_line,
    inside,
    listeners,
    processes,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.listeners import Listener, Sockets
from ansible_collections.beamops.epmd.plugins.module_utils._host.processes import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import observe
from ansible_collections.beamops.epmd.plugins.module_utils._steps.diagnose import Diagnosis, Observation
from ansible_collections.beamops.epmd.plugins.module_utils._steps.observe import Seen
from ansible_collections.beamops.epmd.plugins.module_utils._steps.repair import Repair
from ansible_collections.beamops.epmd.plugins.module_utils._steps.report import Part, Report
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, Table
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, epmd, hang, node


@pytest.fixture
def vms(monkeypatch: pytest.MonkeyPatch) -> list[Vm]:
    """The Erlang VMs that seem to run, without a socket."""
    found: list[Vm] = []
    monkeypatch.setattr(processes, "find_vms", lambda: found)
    monkeypatch.setattr(listeners, "of", lambda _vm, _port: Sockets([], set()))
    return found


@pytest.mark.usefixtures("vms")
def test_a_silent_epmd_is_asked_once_for_all_names_that_are_missing() -> None:
    with FakeServer(hang) as epmd:
        outcome = ensure(Options(["one", "two", "three"], epmd_port=epmd.port, timeout=0.1), check_mode=True)
        assert epmd.accepted == 1
    assert outcome.msg == "one, two, three: no such node runs here; no Erlang node is running"


def test_a_name_cannot_reach_the_terminal(vms: list[Vm]) -> None:
    said = command_line.parse(["beam.smp", "--", "-sname", "evil\x1b[2J\nchanged=0"], {})
    vms.append(processes.UNKNOWN._replace(pid=os.getpid(), uid=0, user="root", said=said))
    with FakeServer(hang) as epmd:
        outcome = ensure(Options(["vic"], epmd_port=epmd.port, timeout=0.1), check_mode=True)
    assert outcome.msg == "vic: no such node runs here; running: evil?[2J?changed=0"
    said = said._replace(epmd_module="x\x1b[2J\n" + "y" * 10_000)
    vms[:] = [vms[0]._replace(said=said)]
    (found,) = diagnose(None, 0.1).nodes
    assert found["verdict"] == "not_applicable"
    assert found["msg"].isprintable()
    assert len(found["msg"]) < 5000


class TestSeveral:
    """Each node is worked on by a child."""

    @pytest.fixture(autouse=True)
    def _three(self, vms: list[Vm]) -> None:
        for pid, name in enumerate(("vic", "wim", "xan"), start=11):
            said = command_line.parse(["beam.smp", "--", "-sname", name, "-dist_listen", "false"], {})
            vms.append(processes.UNKNOWN._replace(pid=pid, uid=0, user="root", said=said))

    def test_all_are_told_of_in_their_order(self) -> None:
        outcome = ensure(Options([]), check_mode=False)
        assert [node["name"] for node in outcome.nodes] == ["vic", "wim", "xan"]
        assert outcome.msg == "3 not_applicable; nothing to do"

    def test_a_defect_of_ours_fails_for_its_node_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        observe = observe.observe
        us = os.getpid()

        def break_for_one(vm: Vm, options: Options, deadline: Deadline) -> Seen:
            assert os.getpid() != us
            return observe(vm, options, deadline) if vm.pid != 12 else 1 // 0  # type: ignore[return-value]

        monkeypatch.setattr(observe, "observe", break_for_one)
        outcome = ensure(Options([]), check_mode=False)
        assert [node["verdict"] for node in outcome.nodes] == ["not_applicable", "unidentified", "not_applicable"]
        assert outcome.failed
        assert re.match(r"wim \(pid 12\): ZeroDivisionError: .*report it\)$", outcome.msg)

    def test_a_defect_in_all_of_a_place_fails_for_our_own_and_warns_of_others(
        self, vms: list[Vm], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vms[1] = vms[1]._replace(namespace=7)
        part = Report.part
        us = os.getpid()

        def break_in_children(report: Report) -> Part:
            return part(report) if os.getpid() == us else 1 // 0  # type: ignore[return-value]

        monkeypatch.setattr(inside, "join_network", lambda _pid: None)
        monkeypatch.setattr(Report, "part", break_in_children)
        outcome = ensure(Options([]), check_mode=False)
        assert [node["verdict"] for node in outcome.nodes] == ["unidentified"] * 3
        assert re.match(r"vic \(pid 11\): ZeroDivisionError: .*; xan \(pid 13\): ZeroDivisionError: ", outcome.msg)
        (warning,) = outcome.warnings
        assert warning.startswith("wim (pid 12): ZeroDivisionError: ")


class TestPlaces:
    """Nodes in network namespaces of their own, which are all ours here."""

    @pytest.fixture
    def entered(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Whose network namespace was entered."""
        found: list[int] = []
        monkeypatch.setattr(inside, "join_network", found.append)
        return found

    @pytest.fixture(autouse=True)
    def _without_children(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Children know nothing of what is noted here, and the servers here are threads, which do not go with forks."""

        really = children.at_once

        def at_once(work: Callable[[Any], Any], items: list[Any], seconds: float) -> list[Any]:
            if len(items) == 1:  # somebody's files, in a root that we could not leave
                return really(work, items, seconds)
            assert seconds > 60
            outcomes: list[Any] = []
            for item in items:
                try:
                    outcomes.append(work(item))
                except EpmdError as error:
                    outcomes.append(error)
            return outcomes

        monkeypatch.setattr(children, "at_once", at_once)

    def runs(self, vms: list[Vm], name: str, pid: int, namespace: int | None) -> None:
        said = command_line.parse(["beam.smp", "--", "-sname", name, "-setcookie", "x"], {})
        vms.append(processes.UNKNOWN._replace(pid=pid, uid=0, user="root", said=said, namespace=namespace))

    def check(self, epmd_port: int, *names: str) -> Any:
        with mock.patch.object(epmd, "DEFAULT_PORT", epmd_port):
            return ensure(Options(list(names), timeout=60), check_mode=True)

    def test_a_node_in_there_is_looked_after_in_there(
        self, vms: list[Vm], entered: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.runs(vms, "vic", 11, 7)
        self.runs(vms, "wim", 12, None)
        with FakeServer(node(hang, NodePeer("vic@web1"))) as peer, FakeServer(epmd({})) as daemon:
            there = Sockets([Listener(3, "127.0.0.1", peer.port, 128)], set())
            monkeypatch.setattr(listeners, "of", lambda vm, _port: there if vm.pid == 11 else Sockets([], set()))
            outcome = self.check(daemon.port)
        assert entered == [11]
        assert [(found["name"], found["namespace"], found["verdict"]) for found in outcome.nodes] == [
            ("wim", None, "not_applicable"),
            ("vic@web1", 7, "missing"),
        ]
        assert outcome.msg == "would register: vic@web1"
        for table in outcome.diff.values():
            assert table.startswith("in network namespace 7:\nepmd: up and running on port ")
        (found,) = outcome.epmd
        assert (found["port"], found["namespace"]) == (daemon.port, 7)

    def test_the_facts_of_a_place_have_only_the_epmds_of_its_nodes(
        self, vms: list[Vm], entered: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.runs(vms, "vic", 11, 7)
        with FakeServer(node(hang, NodePeer("vic@web1"))) as peer, FakeServer(epmd({"vic": 1})) as daemon:
            there = Sockets([Listener(3, "127.0.0.1", peer.port, 128)], set())
            monkeypatch.setattr(listeners, "of", lambda _vm, _port: there)
            with FakeServer(epmd({})) as ours:
                monkeypatch.setattr(epmd, "DEFAULT_PORT", ours.port)
                vms[0] = vms[0]._replace(said=vms[0].said._replace(epmd_port=daemon.port))
                outcome = diagnose(None, 60)
        assert entered == [11]
        assert [(found["port"], found["namespace"]) for found in outcome.daemons] == [
            (ours.port, None),
            (daemon.port, 7),
        ]

    @pytest.mark.usefixtures("entered")
    def test_a_node_of_tls_in_there_says_what_is_wrong_with_its_files(
        self, vms: list[Vm], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.runs(vms, "vic", 11, 7)
        vms[0] = vms[0]._replace(pid=os.getpid(), said=vms[0].said._replace(tls=True, tls_optfile="/no/such/file"))
        self.runs(vms, "wim", 12, None)
        there = Sockets([Listener(3, "127.0.0.1", 1, 128)], set())
        monkeypatch.setattr(listeners, "of", lambda vm, _port: there if vm.said.tls else Sockets([], set()))
        with FakeServer(epmd({})) as daemon:
            outcome = self.check(daemon.port)
        assert [(found["name"], found["tls"], found["verdict"]) for found in outcome.nodes] == [
            ("wim", False, "not_applicable"),
            ("vic", True, "missing"),
        ]
        assert "/no/such/file can't be read (No such file or directory): give tls_certfile" in outcome.msg

    def test_one_that_has_ended_meanwhile_is_passed_over(self, vms: list[Vm], monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[int] = []

        def gone(pid: int) -> None:
            tried.append(pid)
            raise FileNotFoundError(2, "gone")

        monkeypatch.setattr(inside, "join_network", gone)
        self.runs(vms, "vic", 11, 7)
        self.runs(vms, "wim", 12, 7)
        outcome = self.check(1)
        assert (tried, outcome.nodes, outcome.failed) == ([11, 12], [], False)

    @pytest.mark.parametrize("names", [[], ["vic"]])
    def test_a_place_that_may_not_be_entered_fails_only_for_who_was_asked_for(
        self, vms: list[Vm], names: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_pid: int) -> None:
            raise NotPermitted("it can't be entered: run with become")

        monkeypatch.setattr(inside, "join_network", refuse)
        self.runs(vms, "vic", 11, 7)
        outcome = self.check(1, *names)
        (found,) = outcome.nodes
        assert (found["name"], found["verdict"], found["namespace"]) == ("vic", "unidentified", 7)
        sentence = "vic (pid 11): it can't be entered: run with become"
        assert outcome.failed == bool(names)
        assert (outcome.msg, outcome.warnings) == (
            (sentence, []) if names else ("1 unidentified; nothing to do", [sentence])
        )

    def test_a_place_without_a_node_that_was_asked_for_is_not_entered(self, vms: list[Vm], entered: list[int]) -> None:
        self.runs(vms, "vic", 11, 7)
        with FakeServer(epmd({})) as daemon:
            outcome = self.check(daemon.port, "wim")
        assert entered == []
        assert outcome.msg == "wim: no such node runs here; running: vic"


def test_the_table_afterwards_is_what_epmd_has_then() -> None:
    """Of two nodes that are worked on at once, the healthy one was looked at before the other was registered."""
    report = Report(Options([], timeout=60), None, foretold=False)
    with FakeServer(epmd({"a": 1, "b": 2})) as daemon:
        at = Daemon("127.0.0.1", daemon.port)
        done = Repair(True, True, "registered", {"a": 1, "b": 2})
        for name, port, verdict, outcome in (("a", 1, "missing", done), ("b", 2, "registered", None)):
            seen = Observation(name, f"{name}@web1", "", True, port, "", "", Table({"b": 2}), None)
            report.add(Seen(processes.UNKNOWN, at, None, False, seen, None), Diagnosis(verdict, ""), outcome)
        part = report.part()
    assert [found["names"] for found in part.epmd] == [{"a": 1, "b": 2}]
    assert "name a" not in part.before[0]
    assert "name a at port 1" in part.after[0]
