# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of a node, or has the name of one that does not run. The sockets are real, and of this process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import Unreachable
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    command_line,
    processes,
    rights,
    searches,
    systemd,
    vms,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps import diagnose, holders
from ansible_collections.beamops.epmd.plugins.module_utils._steps.holders import explain_missing
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import (
    Diagnosis,
    Epmd,
    EpmdKey,
    Finding,
    Observation,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd as codec
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd_client
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, State, Table
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, NodePeer, answer, create_server, epmd, hang, node

US = f"pid {os.getpid()} of user "


def seen(epmd_port: int, at: int = 1, pid: int | None = None) -> Observation:
    """A node `vic`, whose name epmd has with the port `at`."""
    return Observation(
        vms.UNKNOWN._replace(pid=pid),
        Daemon("127.0.0.1", epmd_port),
        tls=False,
        listener=Listener(3, "127.0.0.1", 4711, 128),
        name="vic@host",
        is_node=True,
        table=Table(State.UP, {"vic": at}),
        holds=False,
        left=60,
    )


def who(verdict: str, a_node: Observation) -> str:
    (found,) = holders.name_them([Finding(a_node, Diagnosis(verdict, "trouble"))], 60)
    assert found.diagnosis.verdict == verdict
    trouble, _semicolon, said = found.diagnosis.msg.partition("; ")
    assert trouble == "trouble"
    return said


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of an epmd that has one client, both of which are this process, and does not say whose a name is."""
    monkeypatch.setattr(epmd_client, "ask_descriptors", lambda *_given: {})
    with create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        yield server.getsockname()[1]


@pytest.fixture
def beam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever listens is an Erlang VM."""
    monkeypatch.setattr(searches, "listening_emulator", lambda _port: "/usr/lib/erlang/erts/bin/beam.smp")


@pytest.fixture
def free() -> int:
    """A port on which nobody listens."""
    with create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_of_a_verdict_that_blames_nobody_nobody_is_named(free: int) -> None:
    for verdict in (diagnose.REGISTERED, diagnose.MISSING, diagnose.EPMD_DOWN, diagnose.UNIDENTIFIED):
        assert who(verdict, seen(free)) == ""


def test_the_process_that_does_not_answer_as_an_epmd_is_named(daemon: int, free: int) -> None:
    said = who(diagnose.EPMD_UNRESPONSIVE, seen(daemon))
    assert said.startswith(f"port {daemon} belongs to {US}")
    unit = systemd.unit_of(os.getpid())
    assert said.endswith(f", which is no Erlang VM{f' in {unit}' if unit else ''}, at 127.0.0.1")
    assert who(diagnose.EPMD_UNRESPONSIVE, seen(free)) == f"nothing listens on port {free}"


@pytest.mark.parametrize(
    ("blind", "owner"),
    [(": run with become", "a process that can't be seen: run with become"), ("", "no process of this host")],
)
def test_a_process_that_can_not_be_seen_takes_more_rights(
    daemon: int, monkeypatch: pytest.MonkeyPatch, blind: str, owner: str
) -> None:
    monkeypatch.setattr(searches, "listening_pids", lambda _port: [])
    monkeypatch.setattr(searches, "listening_at", lambda _port: {})
    monkeypatch.setattr(rights, "blindness", lambda: blind)
    assert who(diagnose.EPMD_UNRESPONSIVE, seen(daemon)).endswith(f"port {daemon} belongs to {owner}")


def test_the_holder_is_one_of_the_clients_of_epmd(daemon: int) -> None:
    assert who(diagnose.BORROWED, seen(daemon)).startswith(f"its holder is one of {US}")


def test_the_holder_is_one_client_where_epmd_says_which(daemon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(("127.0.0.1", daemon)) as client:
        monkeypatch.setattr(holders, "port_of_holder", lambda *_given: client.getsockname()[1])
        assert who(diagnose.BORROWED, seen(daemon)).startswith(f"its holder is {US}")


@pytest.mark.parametrize(
    ("blind", "holder"),
    [
        (": run with become", "its holder can't be seen: run with become"),
        ("", "its holder is no process of this host"),
    ],
)
def test_the_node_itself_is_not_the_holder_where_epmd_does_not_say_who_is(
    daemon: int, monkeypatch: pytest.MonkeyPatch, blind: str, holder: str
) -> None:
    monkeypatch.setattr(rights, "blindness", lambda: blind)

    def fail(*_given: Any) -> None:
        raise Unreachable("gone")

    monkeypatch.setattr(holders, "port_of_holder", fail)
    assert who(diagnose.BORROWED, seen(daemon, pid=os.getpid())) == holder


def test_of_a_conflict_both_the_holder_and_the_port_are_named(daemon: int, free: int) -> None:
    said = who(diagnose.CONFLICT, seen(daemon, free))
    assert said.startswith(f"its holder is one of {US}")
    assert said.endswith(f"; nothing listens on port {free}")


def test_only_an_erlang_vm_is_asked_for_a_node(daemon: int) -> None:
    """Anybody may register the port of a service that a handshake would disturb."""
    with FakeServer(hang) as service:
        assert who(diagnose.CONFLICT, seen(daemon, service.port)).endswith(", which is no Erlang VM")
        assert service.accepted == 0


@pytest.mark.usefixtures("beam")
def test_an_erlang_vm_where_no_node_answers_is_said(daemon: int) -> None:
    with FakeServer(answer(b"")) as server:
        assert who(diagnose.CONFLICT, seen(daemon, server.port)).endswith(", where no node answers")


@pytest.mark.usefixtures("beam")
def test_a_service_that_is_known_is_not_asked_for_a_node(daemon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(hang) as service:
        monkeypatch.setattr(holders, "KNOWN_SERVICES", frozenset({service.port}))
        assert who(diagnose.CONFLICT, seen(daemon, service.port)).endswith(", which is no Erlang VM")
        assert service.accepted == 0


@pytest.mark.usefixtures("beam")
def test_what_a_node_at_the_port_calls_itself_is_said(daemon: int) -> None:
    hung_up = threading.Event()

    def other(connection: socket.socket) -> None:
        try:
            node(hang, NodePeer("other@host"))(connection)
        finally:
            hung_up.set()

    with FakeServer(other) as peer:
        said = who(diagnose.CONFLICT, seen(daemon, peer.port))
        assert said.endswith("where a node answers that calls itself other@host")
        assert hung_up.wait(10)


class TestItself:
    """The node, which is this process, holds its own name with a wrong port."""

    @pytest.fixture(autouse=True)
    def _holds(self, daemon: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with socket.create_connection(("127.0.0.1", daemon)) as client:
            monkeypatch.setattr(holders, "port_of_holder", lambda *_given: client.getsockname()[1])
            yield

    def diagnosis(self, a_node: Observation) -> Diagnosis:
        (found,) = holders.name_them([Finding(a_node, Diagnosis(diagnose.CONFLICT, "trouble"))], 60)
        return found.diagnosis

    def test_where_nothing_listens_it_may_go(self, daemon: int, free: int) -> None:
        found = self.diagnosis(seen(daemon, free, pid=os.getpid()))
        assert found.msg == f"trouble; its holder is the node itself; nothing listens on port {free}"
        assert found.lost is not None
        assert (found.lost.alive, found.lost.why) == ("vic", "trouble")
        assert 0 < found.lost.observation.left < 60

    def test_the_port_of_epmd_is_no_port_of_the_node(self, daemon: int) -> None:
        assert self.diagnosis(seen(daemon, daemon, pid=os.getpid())).lost

    @pytest.mark.usefixtures("beam")
    @pytest.mark.parametrize(("name", "may_go"), [("other@host", True), ("vic@host", False)])
    def test_a_port_where_the_node_itself_answers_may_be_meant(self, daemon: int, name: str, may_go: bool) -> None:
        with FakeServer(node(hang, NodePeer(name))) as server:
            found = self.diagnosis(seen(daemon, server.port, pid=os.getpid()))
        assert bool(found.lost) is may_go
        assert ("type in a shell of the node" in found.msg) is not may_go

    def test_a_program_on_that_port_may_pass_on_to_the_node(self, daemon: int) -> None:
        with FakeServer(answer(b"")) as server:
            found = self.diagnosis(seen(daemon, server.port, pid=os.getpid()))
            assert server.accepted == 0
        assert found.lost is None
        assert found.msg.endswith(
            "S = element(2, sys:get_state(erl_epmd)), erl_epmd ! {tcp_closed, S}, gen_tcp:close(S), "
            'erl_epmd:register_node(hd(string:tokens(atom_to_list(node()), "@")), 4711).'
        )

    def test_a_node_of_inet6_has_to_say_so(self, daemon: int, free: int) -> None:
        line = command_line.parse(["beam.smp", "-proto_dist", "inet6_tcp"], {})
        assert holders.by_hand(seen(daemon, free)._replace(vm=vms.UNKNOWN._replace(command_line=line))).endswith(
            ", 4711, inet6)."
        )

    def test_a_node_whose_name_was_not_asked_is_left(self, daemon: int, free: int) -> None:
        assert self.diagnosis(seen(daemon, free, pid=os.getpid())._replace(name=None)).lost is None


class TestHolder:
    """Which client of epmd holds a name."""

    @pytest.fixture
    def says(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
        """The descriptors of an epmd, which is this process."""
        found: dict[str, int] = {}
        monkeypatch.setattr(epmd_client, "ask_descriptors", lambda *_given: found)
        monkeypatch.setattr(searches, "epmd_pid", lambda _port: os.getpid())
        return found

    def test_it_is_at_the_other_end_of_the_descriptor(self, says: dict[str, int]) -> None:
        with create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(server.getsockname()) as client:
                accepted, _address = server.accept()
                with accepted:
                    says["vic"] = accepted.fileno()
                    assert (
                        holders.port_of_holder(Daemon("127.0.0.1", port), "vic", Deadline(60))
                        == client.getsockname()[1]
                    )

    @pytest.mark.usefixtures("says")
    def test_epmd_does_not_say(self, free: int) -> None:
        assert holders.port_of_holder(Daemon("127.0.0.1", free), "vic", Deadline(60)) is None

    def test_epmd_can_not_be_seen(self, free: int, says: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
        says["vic"] = 0
        monkeypatch.setattr(searches, "epmd_pid", lambda _port: None)
        assert holders.port_of_holder(Daemon("127.0.0.1", free), "vic", Deadline(60)) is None


@pytest.fixture(autouse=True)
def _all_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "hidden", lambda: "")


def seen_epmd(port: int, names: dict[str, int], namespace: int | None = None) -> Epmd:
    """An epmd as it was seen."""
    table = Table(State.UP, names)
    return Epmd(EpmdKey(namespace, Daemon("127.0.0.1", port)), table, table)


def test_a_port_of_somebody_else_is_said_with_what_runs() -> None:
    said = explain_missing(["vic"], ["wim@h", "ann@h", "wim@h"], [], Options(["vic"], port=4711))
    assert said == ["vic: port 4711 does not belong to it; running: ann@h, wim@h"]


def test_a_name_that_runs_at_another_host_is_not_looked_for_at_epmd() -> None:
    said = explain_missing(["vic@far"], ["vic@near"], [], Options(["vic@far"], epmd_port=1))
    assert said == [f"vic@far: no such node runs here; running: vic@near; {holders.FORGOTTEN}"]


def test_who_has_a_name_that_no_vm_goes_by_is_said() -> None:
    with create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        said = explain_missing(["vic@h", "wim"], [], [seen_epmd(4369, {"vic": port})], Options([], epmd_port=4369))
    start = f"vic@h: epmd has this name with port {port}, which belongs to pid {os.getpid()} of user "
    assert said[0].startswith(start)
    assert said[0].endswith("; no Erlang VM here has this name")
    assert said[1:] == [f"wim: no such node runs here; no Erlang node is running; {holders.FORGOTTEN}"]


def test_a_name_whose_port_nobody_listens_on_belongs_to_nobody() -> None:
    with create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (said,) = explain_missing(["vic"], [], [seen_epmd(4369, {"wim": 1, "vic": port})], Options([], epmd_port=4369))
    assert f"with port {port}, which belongs to no process that can be seen" in said


@pytest.mark.parametrize("given", [True, False])
def test_an_epmd_that_was_not_seen_yet_is_asked_and_those_of_other_places_do_not_count(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer(epmd({"vic": 1})) as server:
        if not given:
            monkeypatch.setattr(codec, "DEFAULT_PORT", server.port)
        options = Options([], epmd_port=server.port if given else None)
        (said,) = explain_missing(["vic"], [], [seen_epmd(server.port, {}, namespace=7), seen_epmd(1, {})], options)
        assert server.accepted == 1
    assert said.startswith("vic: epmd has this name with port 1, ")
