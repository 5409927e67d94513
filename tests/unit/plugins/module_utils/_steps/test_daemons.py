# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The epmds of a host: a record for each process, with its table before and after, and whose names it has."""

from __future__ import annotations

import os
import time
from typing import Callable, Collection

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import owners, searches, systemd, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._steps import daemons
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import (
    Diagnosis,
    Epmd,
    Finding,
    Foreign,
    Observation,
    Repair,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, create_server, epmd, hang


def node(port: int, table: Table, repair: Repair | None = None, at: int = 4711, address: str = "127.0.0.1") -> Finding:
    """A node at this distribution port, which uses the epmd on this port, and what that had."""
    observation = Observation(
        vms.UNKNOWN,
        Daemon(address, port),
        tls=False,
        listener=Listener(3, "0.0.0.0", at, 128),
        name="vic@h",
        table=table,
    )
    return Finding(observation, Diagnosis("missing" if repair else "registered", ""), repair)


def up(**names: int) -> Table:
    return Table(State.UP, names)


def done(table: Table, started: bool = False) -> Repair:
    return Repair(True, True, "registered", table, started)


def described(*findings: Finding, ports: Collection[int] = (), others: Collection[Vm] = ()) -> list[Epmd]:
    return daemons.describe(findings, ports, others, 60)


@pytest.fixture
def free() -> int:
    """A port on which nobody listens."""
    with create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_an_epmd_is_described_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "epmds", lambda _port: [(os.getpid(), ["127.0.0.1"])])
    with FakeServer(hang) as server:
        (found,) = described(node(server.port, up(vic=4711)))
        assert server.accepted == 0
    assert (found.pid, found.addresses) == (os.getpid(), ("127.0.0.1",))
    assert found.user == vms.user_name(os.geteuid())
    unit = systemd.unit_of(os.getpid())
    assert (found.unit, found.in_application_unit) == (unit, systemd.is_application(unit))
    assert (found.before, found.after, found.started, found.foreign) == (up(vic=4711), up(vic=4711), False, ())


def test_what_is_no_epmd_has_addresses_and_no_process() -> None:
    with FakeServer(hang) as server:
        (found,) = described(node(server.port, Table(State.MUTE, {}, "no answer within 5 s")))
    assert (found.pid, found.user, found.unit, found.addresses) == (None, None, None, ("127.0.0.1",))
    assert found.after.trouble == "no answer within 5 s"


def test_an_epmd_that_is_down_has_neither_process_nor_addresses(free: int) -> None:
    (found,) = described(node(free, DOWN))
    assert (found.pid, found.addresses, found.after) == (None, (), DOWN)


@pytest.mark.parametrize("verdict", ["not_applicable", "unidentified"])
def test_without_a_use_for_epmd_or_without_a_listener_no_epmd_is_described(free: int, verdict: str) -> None:
    finding = node(free, DOWN)._replace(diagnosis=Diagnosis(verdict, ""))
    if verdict == "unidentified":
        finding = finding._replace(observation=finding.observation._replace(listener=None))
    assert described(finding) == []


def test_the_table_afterwards_is_that_of_the_proof_for_all_nodes(free: int) -> None:
    """The healthy node was looked at before the other two were registered."""
    before, after = up(b=2), up(a=1, b=2, c=3)
    nodes = [node(free, before, done(after), at=1), node(free, before, at=2), node(free, before, done(after), at=3)]
    (found,) = described(*nodes)
    assert (found.before, found.after) == (before, after)


def test_in_check_mode_the_tables_of_all_nodes_are_united(free: int) -> None:
    nodes = [node(free, DOWN, done(up(a=1), started=True), at=1), node(free, DOWN, done(up(b=2), started=True), at=2)]
    (found,) = described(*nodes)
    assert (found.before, found.after, found.started) == (DOWN, up(a=1, b=2), True)


def test_one_process_that_serves_both_families_is_one_epmd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "epmds", lambda _port: [(7, ["0.0.0.0", "::"])])
    (found,) = described(node(4369, up(a=1, b=2), at=1), node(4369, up(a=1, b=2), at=2, address="::1"))
    assert (found.pid, found.addresses, found.after) == (7, ("0.0.0.0", "::"), up(a=1, b=2))


def test_two_processes_on_one_port_are_two_epmds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "epmds", lambda _port: [(7, ["127.0.0.1"]), (8, ["::1"])])
    found = described(node(4369, up(a=1), at=1), node(4369, up(b=2), at=2, address="::1"))
    assert [(epmd.pid, epmd.after) for epmd in found] == [(7, up(a=1)), (8, up(b=2))]


def test_a_port_besides_those_of_the_nodes_is_asked_where_somebody_listens(free: int) -> None:
    with FakeServer(epmd({"squatter": 1})) as server:
        (found,) = described(ports=[server.port, free])
    assert (found.key.daemon, found.after) == (Daemon("127.0.0.1", server.port), up(squatter=1))
    assert found.foreign == (Foreign("squatter", 1, None, None),)


def test_an_epmd_that_a_node_uses_is_not_asked_again() -> None:
    with FakeServer(epmd({})) as server:
        (found,) = described(node(server.port, up(vic=4711)), ports=[server.port])
        assert server.accepted == 0
    assert found.after == up(vic=4711)


def test_a_thousand_foreign_names_do_not_cost_a_look_at_the_sockets_each(free: int) -> None:
    begin = time.process_time()
    searches.listening_owners()
    look = time.process_time() - begin
    with create_server(("127.0.0.1", 0)) as squatter:
        at = squatter.getsockname()[1]
        names = {**{f"n{number}": 1 for number in range(1000)}, "own": 4711, "squatted": at}
        begin = time.process_time()
        (found,) = described(node(free, Table(State.UP, names)))
        assert time.process_time() - begin < 100 * look
    assert [foreign.name for foreign in found.foreign] == sorted({*names} - {"own"})
    (one,) = [foreign for foreign in found.foreign if foreign.name == "squatted"]
    assert (one.pid, one.port, one.user) == (os.getpid(), at, vms.user_name(os.geteuid()))


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_name_of_a_node_that_was_not_looked_at_is_not_foreign(free: int, looked_at: bool) -> None:
    with FakeServer(hang) as other:
        others = [] if looked_at else [vms.UNKNOWN._replace(pid=os.getpid())]
        (found,) = described(node(free, up(vic=4711, wim=other.port)), others=others)
    assert [foreign.name for foreign in found.foreign] == (["wim"] if looked_at else [])


def test_where_the_processes_can_not_be_looked_at_the_tables_stay(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "epmds", lambda _port: 1 // 0)
    (found,) = described(node(free, DOWN, done(up(vic=4711), started=True)))
    assert (found.before, found.after, found.started, found.pid) == (DOWN, up(vic=4711), True, None)


class TestWhatKeepsItAlive:
    """An epmd of this process, in a unit, with a node of this process in another one."""

    @pytest.fixture
    def flagged(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
        def is_flagged(unit: str, of_node: str, ours: str = "run.service", namespace: int | None = None) -> bool:
            units = {7: unit, 8: of_node, os.getpid(): ours}
            monkeypatch.setattr(systemd, "unit_of", units.get)
            place = daemons._Place(vms.UNKNOWN._replace(pid=8, namespace=namespace), [], {8, None}, set(), ())
            return daemons._is_of_application(7, unit, place)

        return is_flagged

    def test_a_service_of_its_own_does(self, flagged: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
        assert not flagged("epmd.service", "app.service")
        assert flagged("app.service", "app.service")
        monkeypatch.setattr(systemd, "keeps_epmd_alone", lambda pid, unit: (pid, unit) == (7, "rabbitmq-epmd.service"))
        assert not flagged("rabbitmq-epmd.service", "app.service")

    @pytest.mark.parametrize("scope", ["docker-0.scope", "docker/0"])
    def test_a_container_does_for_its_own_nodes_alone(self, flagged: Callable[..., bool], scope: str) -> None:
        assert flagged(scope, scope)  # it has the network of the host
        assert not flagged(scope, scope, namespace=7)
        assert flagged(scope, "docker-1.scope", namespace=7)  # of the same pod
        assert not flagged(scope, scope, ours=scope)  # we are in that container

    def test_a_login_does_not(self, flagged: Callable[..., bool]) -> None:
        assert flagged("session-3.scope", "session-3.scope", namespace=7)


def test_an_epmd_that_its_nodes_can_not_reach_has_the_process_that_has_its_port() -> None:
    with FakeServer(hang) as server:
        table = Table(State.MUTE, {}, "the node asks ::1")
        (found,) = described(node(server.port, table, address="::1"))
    assert (found.addresses, found.after) == (("127.0.0.1",), table)
