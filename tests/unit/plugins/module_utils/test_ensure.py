# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that deceive, several nodes, network namespaces: what holds for all the steps together. Without Erlang."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Callable
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Mode, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    children,
    command_line,
    files,
    inside,
    owners,
    rights,
    vms,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener, Sockets, Sought
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import daemons, holders, report
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd as codec
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, answer, epmd, hang, node

HINT = f"; {holders.FORGOTTEN}"


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[Vm]:
    """The Erlang VMs that seem to run, without a socket."""
    found: list[Vm] = []
    monkeypatch.setattr(vms, "find", lambda: found)
    monkeypatch.setattr(owners, "sockets_of", lambda _vm, *_given: Sockets([], set()))
    monkeypatch.setattr(vms, "has_ended", lambda _pid: False)
    return found


@pytest.mark.usefixtures("running")
def test_a_silent_epmd_is_asked_once_for_all_names_that_are_missing() -> None:
    with FakeServer(hang) as epmd:
        outcome = ensure(Options(["one", "two", "three"], epmd_port=epmd.port, timeout=0.5), Mode.PREDICT)
        assert epmd.accepted == 1
    assert outcome.msg == f"one, two, three: no such node runs here; no Erlang node is running{HINT}"


def test_a_name_cannot_reach_the_terminal(running: list[Vm]) -> None:
    line = command_line.parse(["beam.smp", "--", "-sname", "evil\x1b[2J\nchanged=0"], {})
    running.append(vms.UNKNOWN._replace(pid=os.getpid(), uid=0, user="root", command_line=line))
    with FakeServer(hang) as epmd:
        outcome = ensure(Options(["vic"], epmd_port=epmd.port, timeout=0.1), Mode.PREDICT)
    assert outcome.msg == f"vic: no such node runs here; running: evil?[2J?changed=0{HINT}"
    line = line._replace(silent="x\x1b[2J\n" + "y" * 10_000)
    running[:] = [running[0]._replace(command_line=line)]
    (found,) = ensure(Options([], timeout=0.1), Mode.DIAGNOSE).nodes
    assert found["verdict"] == "not_applicable"
    assert found["msg"].isprintable()
    assert len(found["msg"]) < 5000


def broken(error: BaseException) -> Callable[..., Any]:
    def fail(*_given: object, **_options: object) -> Any:
        raise error

    return fail


class TestOneSentence:
    """Whatever fails, at whichever step, ends in an EpmdError or in what is said of a node, be it one or ten."""

    @pytest.mark.parametrize("step", ["vms.find", "daemons.describe", "report.missing", "report.outcome"])
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (
                ZeroDivisionError("x"),
                r"ZeroDivisionError: x \(at test_ensure.py line \d+; this is a defect of .* report it\)",
            ),
            (
                OSError(28, "No space left on device"),
                "the operating system reports No space left on device: correct that ",
            ),
            (
                OSError(2, "No such file", "/proc"),
                r"the operating system reports No such file \(/proc\): correct that ",
            ),
            (OSError(3, "No such process", "/proc/7/fd"), "a process ended while it was looked at: run again"),
            (NotPermitted("evil\u202e\n"), r"evil\?\?$"),
        ],
    )
    @pytest.mark.usefixtures("running")
    def test_outside_of_the_children(
        self, step: str, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module, name = step.split(".")
        monkeypatch.setattr({"vms": vms, "daemons": daemons, "report": report}[module], name, broken(error))
        with pytest.raises(EpmdError, match=f"^{words}") as caught:
            ensure(Options([], timeout=1), Mode.DIAGNOSE)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("count", [1, 10])
    def test_a_disk_that_is_full(self, count: int, running: list[Vm], monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of ours is written to it; with several children the locks are, where there are no files in memory."""
        if count > 1 and not hasattr(os, "memfd_create"):
            pytest.skip("this Python has no files in memory")
        monkeypatch.setattr(tempfile, "TemporaryFile", broken(OSError(28, "No space left on device")))
        line = command_line.parse(["beam.smp", "--", "-sname", "vic", "-dist_listen", "false"], {})
        running += [vms.UNKNOWN._replace(pid=pid, uid=0, command_line=line) for pid in range(11, 11 + count)]
        assert ensure(Options([]), Mode.REPAIR).msg == f"{count} not_applicable; nothing to do"

    @pytest.mark.parametrize("names", [["vic"], ["vic", "wim"]])
    @pytest.mark.parametrize("mode", [Mode.PREDICT, Mode.REPAIR])
    @pytest.mark.parametrize(
        ("failure", "words"),
        [
            (lambda: time.sleep(3600), "did not end within"),
            (broken(OSError(5, "Input/output error", "/x")), "/x can't be read (Input/output error): give cookie"),
            (broken(ValueError("x")), "ValueError: x (at test_ensure.py line "),
        ],
    )
    def test_a_cookie_file_on_a_file_system_that_fails(
        self,
        names: list[str],
        mode: Mode,
        failure: Callable[..., Any],
        words: str,
        running: list[Vm],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(files, "read", lambda *_given: failure())
        peers = [FakeServer(node(hang, NodePeer(f"{name}@web1"))) for name in names]
        with contextlib.ExitStack() as stack:
            daemon = stack.enter_context(FakeServer(epmd({})))
            ports = {number: stack.enter_context(peer).port for number, peer in enumerate(peers, 11)}
            for pid, name in enumerate(names, 11):
                flags = ["-sname", name, "-epmd_port", str(daemon.port)]
                line = command_line.parse(["beam.smp", "--", *flags], {})
                running.append(vms.UNKNOWN._replace(pid=pid, uid=0, command_line=line))
            monkeypatch.setattr(
                owners, "sockets_of", lambda vm, *_given: Sockets([Listener(3, "127.0.0.1", ports[vm.pid], 128)], set())
            )
            outcome = ensure(Options([], cookie_file="/x", timeout=2), mode)
        assert (outcome.failed, outcome.changed) == (True, False)
        assert [words in found["msg"] for found in outcome.nodes] == [True] * len(names)


class TestSeveral:
    """Each node is worked on by a child."""

    @pytest.fixture(autouse=True)
    def _three(self, running: list[Vm]) -> None:
        for pid, name in enumerate(("vic", "wim", "xan"), start=11):
            line = command_line.parse(["beam.smp", "--", "-sname", name, "-dist_listen", "false"], {})
            running.append(vms.UNKNOWN._replace(pid=pid, uid=0, user="root", command_line=line))

    def test_all_are_told_of_in_their_order(self) -> None:
        outcome = ensure(Options([]), Mode.REPAIR)
        assert [node["name"] for node in outcome.nodes] == ["vic", "wim", "xan"]
        assert outcome.msg == "3 not_applicable; nothing to do"

    def test_a_defect_of_ours_fails_for_its_node_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        us = os.getpid()
        real = owners.sockets_of

        def break_for_one(vm: Vm, epmd_port: int, sought: Sought, earlier: owners.Listing | None) -> Sockets:
            assert os.getpid() != us
            return real(vm, epmd_port, sought, earlier) if vm.pid != 12 else 1 // 0  # type: ignore[return-value]

        monkeypatch.setattr(owners, "sockets_of", break_for_one)
        outcome = ensure(Options([]), Mode.REPAIR)
        assert [node["verdict"] for node in outcome.nodes] == ["not_applicable", "unidentified", "not_applicable"]
        assert outcome.failed
        assert re.match(r"wim \(pid 12\): ZeroDivisionError: .*report it\)$", outcome.msg)

    def test_a_defect_for_all_fails_for_our_own_nodes_and_warns_of_those_in_other_namespaces(
        self, running: list[Vm], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running[1] = running[1]._replace(namespace=7)
        monkeypatch.setattr(inside, "join_network", lambda _pid: 1 // 0)
        monkeypatch.setattr(owners, "sockets_of", lambda *_given: 1 // 0)
        outcome = ensure(Options([]), Mode.REPAIR)
        assert [node["verdict"] for node in outcome.nodes] == ["unidentified"] * 3
        assert re.match(r"vic \(pid 11\): ZeroDivisionError: .*; xan \(pid 13\): ZeroDivisionError: ", outcome.msg)
        (warning,) = outcome.warnings
        assert warning.startswith("wim (pid 12): ZeroDivisionError: ")


class TestNamespaces:
    """Nodes in network namespaces of their own, which are all ours here."""

    @pytest.fixture
    def entered(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], set[int]]:
        """Whose network namespaces were entered, by children that end before this is asked."""
        log = tmp_path / "entered"
        log.touch()

        def enter(pid: int) -> None:
            with log.open("a") as file:
                file.write(f"{pid}\n")

        monkeypatch.setattr(inside, "join_network", enter)
        return lambda: set(map(int, log.read_text().split()))

    def runs(self, running: list[Vm], name: str, pid: int, namespace: int | None) -> None:
        line = command_line.parse(["beam.smp", "--", "-sname", name, "-setcookie", "x"], {})
        running.append(vms.UNKNOWN._replace(pid=pid, uid=0, user="root", command_line=line, namespace=namespace))

    def check(self, epmd_port: int, *names: str) -> Any:
        with mock.patch.object(codec, "DEFAULT_PORT", epmd_port):
            return ensure(Options(list(names), timeout=60), Mode.PREDICT)

    @pytest.mark.parametrize("children_at_first", [1, 2])
    def test_what_is_wrong_with_one_node_is_nobody_elses(
        self, running: list[Vm], monkeypatch: pytest.MonkeyPatch, children_at_first: int
    ) -> None:
        """One hangs, one answers with garbage, and the child that works on a third one is killed."""
        monkeypatch.setattr(children, "FIRST_AT_ONCE", children_at_first)
        monkeypatch.setattr(children, "PATIENCE_SECONDS", 3600)
        names, healthy = ("hung", "vic", "garbled", "wim", "killed", "xan"), ("vic", "wim", "xan")
        with contextlib.ExitStack() as stack:
            handlers = [hang, None, answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None, hang, None]
            ports = {}
            for pid, (name, handler) in enumerate(zip(names, handlers), start=11):
                self.runs(running, name, pid, None)
                of_name = handler or node(hang, NodePeer(f"{name}@web1"))
                ports[pid] = stack.enter_context(FakeServer(of_name)).port

            def look(vm: Vm, *_given: object) -> Sockets:
                if vm.command_line.name == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                return Sockets([Listener(3, "127.0.0.1", ports[vm.pid or 0], 128)], {1}, len(healthy))

            monkeypatch.setattr(owners, "sockets_of", look)
            table = {name: ports[pid] for pid, name in enumerate(names, start=11) if name in healthy}
            daemon = stack.enter_context(FakeServer(epmd(table)))
            with mock.patch.object(codec, "DEFAULT_PORT", daemon.port):
                outcome = ensure(Options([], timeout=3), Mode.PREDICT)
        found = {str(each["name"]).partition("@")[0]: each for each in outcome.nodes}
        assert [found[name]["verdict"] for name in healthy] == ["registered"] * 3
        assert "was killed by signal 9" in found["killed"]["msg"]
        assert "no answer within" in found["hung"]["msg"]
        assert "its first bytes: b'HT'" in found["garbled"]["msg"]

    def test_a_node_in_there_is_looked_after_in_there(
        self, running: list[Vm], entered: Callable[[], set[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.runs(running, "vic", 11, 7)
        self.runs(running, "wim", 12, None)
        with FakeServer(node(hang, NodePeer("vic@web1"))) as peer, FakeServer(epmd({})) as daemon:
            there = Sockets([Listener(3, "127.0.0.1", peer.port, 128)], set())
            monkeypatch.setattr(owners, "sockets_of", lambda vm, *_given: there if vm.pid == 11 else Sockets([], set()))
            outcome = self.check(daemon.port)
        assert entered() == {11}
        assert [(found["name"], found["namespace"], found["verdict"]) for found in outcome.nodes] == [
            ("wim", None, "unidentified"),
            ("vic@web1", 7, "missing"),
        ]
        assert outcome.msg == "would register: vic@web1"
        for table in outcome.diff.values():
            assert table.startswith("in network namespace 7:\nepmd: up and running on port ")
        (found,) = outcome.daemons
        assert (found["port"], found["namespace"]) == (daemon.port, 7)

    def test_the_facts_of_a_place_have_only_the_epmds_of_its_nodes(
        self, running: list[Vm], entered: Callable[[], set[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.runs(running, "vic", 11, 7)
        with FakeServer(node(hang, NodePeer("vic@web1"))) as peer, FakeServer(epmd({"vic": 1})) as daemon:
            there = Sockets([Listener(3, "127.0.0.1", peer.port, 128)], set())
            monkeypatch.setattr(owners, "sockets_of", lambda _vm, *_given: there)
            with FakeServer(epmd({})) as ours:
                monkeypatch.setattr(codec, "DEFAULT_PORT", ours.port)
                running[0] = running[0]._replace(command_line=running[0].command_line._replace(epmd_port=daemon.port))
                outcome = ensure(Options([], timeout=60), Mode.DIAGNOSE)
        assert entered() == {11}
        assert [(found["port"], found["namespace"]) for found in outcome.daemons] == [
            (ours.port, None),
            (daemon.port, 7),
        ]

    @pytest.mark.usefixtures("entered")
    def test_a_node_of_tls_in_there_says_what_is_wrong_with_its_files(
        self, running: list[Vm], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.runs(running, "vic", 11, 7)
        running[0] = running[0]._replace(
            pid=os.getpid(), command_line=running[0].command_line._replace(tls=True, tls_optfile="/no/such/file")
        )
        self.runs(running, "wim", 12, None)
        there = Sockets([Listener(3, "127.0.0.1", 1, 128)], set())
        monkeypatch.setattr(
            owners, "sockets_of", lambda vm, *_given: there if vm.command_line.tls else Sockets([], set())
        )
        with FakeServer(epmd({})) as daemon:
            outcome = self.check(daemon.port)
        assert [(found["name"], found["tls"], found["verdict"]) for found in outcome.nodes] == [
            ("wim", False, "unidentified"),
            ("vic", True, "missing"),
        ]
        assert "/no/such/file can't be read (No such file or directory): give tls_certfile" in outcome.msg

    def test_one_that_has_ended_meanwhile_is_passed_over(
        self, running: list[Vm], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(_pid: int) -> None:
            raise rights.ended(_pid)

        monkeypatch.setattr(inside, "join_network", gone)
        self.runs(running, "vic", 11, 7)
        self.runs(running, "wim", 12, 7)
        outcome = self.check(1)
        assert (outcome.nodes, outcome.failed) == ([], False)

    @pytest.mark.parametrize("names", [[], ["vic"]])
    def test_a_place_that_may_not_be_entered_fails_only_for_who_was_asked_for(
        self, running: list[Vm], names: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_pid: int) -> None:
            raise NotPermitted("it can't be entered: run with become")

        monkeypatch.setattr(inside, "join_network", refuse)
        self.runs(running, "vic", 11, 7)
        outcome = self.check(1, *names)
        (found,) = outcome.nodes
        assert (found["name"], found["verdict"], found["namespace"]) == ("vic", "unidentified", 7)
        sentence = "vic (pid 11): it can't be entered: run with become"
        assert outcome.failed == bool(names)
        assert (outcome.msg, outcome.warnings) == (
            (sentence, []) if names else ("1 unidentified; nothing to do", [sentence])
        )

    def test_a_place_without_a_node_that_was_asked_for_is_not_entered(
        self, running: list[Vm], entered: Callable[[], set[int]]
    ) -> None:
        self.runs(running, "vic", 11, 7)
        with FakeServer(epmd({})) as daemon:
            outcome = self.check(daemon.port, "wim")
        assert entered() == set()
        assert outcome.msg == f"wim: no such node runs here; running: vic{HINT}"
