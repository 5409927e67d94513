# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of a node is said of real sockets, which this process has."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import Unreachable
from ansible_collections.beamops.epmd.plugins.module_utils._host import listeners, owners, processes
from ansible_collections.beamops.epmd.plugins.module_utils._host.processes import UNKNOWN
from ansible_collections.beamops.epmd.plugins.module_utils._steps import culprits, diagnose, holder
from ansible_collections.beamops.epmd.plugins.module_utils._steps.culprits import named
from ansible_collections.beamops.epmd.plugins.module_utils._steps.diagnose import Diagnosis, Observation
from ansible_collections.beamops.epmd.plugins.module_utils._steps.observe import Seen
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd_client
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon, Table
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection

US = f"pid {os.getpid()} of user "


def seen(epmd_port: int, at: int = 1, pid: int | None = None) -> Seen:
    """A node `vic`, whose name epmd has with the port `at`."""
    observation = Observation("vic", "vic@host", "", True, 4711, "", "", Table({"vic": at}), False)
    return Seen(UNKNOWN._replace(pid=pid), Daemon("127.0.0.1", epmd_port), None, False, observation, None)


def who(verdict: str, a_node: Seen) -> str:
    found = named(a_node, Diagnosis(verdict, "trouble"), Deadline(60))
    assert found.verdict == verdict
    trouble, _semicolon, said = found.msg.partition("; ")
    assert trouble == "trouble"
    return said


@pytest.fixture
def epmd(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of an epmd that has one client, both of which are this process, and does not say whose a name is."""
    monkeypatch.setattr(epmd_client, "ask_descriptors", lambda *_given: {})
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        yield server.getsockname()[1]


@pytest.fixture
def beam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever listens is an Erlang VM."""
    monkeypatch.setattr(owners, "listening_emulator", lambda _port: "/usr/lib/erlang/erts/bin/beam.smp")


@pytest.fixture
def free() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_of_a_verdict_that_blames_nobody_nobody_is_named(free: int) -> None:
    for verdict in (diagnose.REGISTERED, diagnose.MISSING, diagnose.EPMD_DOWN, diagnose.UNIDENTIFIED):
        assert who(verdict, seen(free)) == ""


def test_without_psutil_nobody_can_be_named(epmd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HAS_PSUTIL", False)
    assert who(diagnose.BORROWED, seen(epmd)) == ""


def test_the_process_that_does_not_answer_as_an_epmd_is_named(epmd: int, free: int) -> None:
    said = who(diagnose.EPMD_UNRESPONSIVE, seen(epmd))
    assert said.startswith(f"port {epmd} belongs to {US}")
    assert said.endswith(", which is no Erlang VM")
    assert who(diagnose.EPMD_UNRESPONSIVE, seen(free)) == f"nothing listens on port {free}"


def test_a_process_that_can_not_be_seen_takes_more_rights(epmd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "listening_pids", lambda _port: [])
    assert who(diagnose.EPMD_UNRESPONSIVE, seen(epmd)).endswith("can't be seen: run with become")


def test_the_holder_is_one_of_the_clients_of_epmd(epmd: int) -> None:
    assert who(diagnose.BORROWED, seen(epmd)).startswith(f"its holder is one of {US}")


def test_the_holder_is_one_client_where_epmd_says_which(epmd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(("127.0.0.1", epmd)) as client:
        monkeypatch.setattr(holder, "port_of", lambda *_given: client.getsockname()[1])
        assert who(diagnose.BORROWED, seen(epmd)).startswith(f"its holder is {US}")


def test_the_node_itself_is_not_its_own_holder(epmd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any) -> None:
        raise Unreachable("gone")

    monkeypatch.setattr(holder, "port_of", fail)
    assert who(diagnose.BORROWED, seen(epmd, pid=os.getpid())) == "its holder can't be seen: run with become"


def test_of_a_conflict_both_the_holder_and_the_port_are_named(epmd: int, free: int) -> None:
    said = who(diagnose.CONFLICT, seen(epmd, free))
    assert said.startswith(f"its holder is one of {US}")
    assert said.endswith(f"; nothing listens on port {free}")


def test_only_an_erlang_vm_is_asked_for_a_node(epmd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may register the port of a service that a handshake would disturb."""
    monkeypatch.setattr(NodeConnection, "open", lambda *_given: pytest.fail("it was asked"))
    assert who(diagnose.CONFLICT, seen(epmd, epmd)).endswith(", which is no Erlang VM")


@pytest.mark.usefixtures("beam")
def test_an_erlang_vm_where_no_node_answers_is_said(epmd: int, free: int) -> None:
    assert who(diagnose.CONFLICT, seen(epmd, free)).endswith(f"; nothing listens on port {free}, where no node answers")


def test_a_service_that_is_known_is_not_asked_for_a_node(epmd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(culprits, "KNOWN_SERVICES", frozenset({epmd}))
    assert who(diagnose.CONFLICT, seen(epmd, epmd)).endswith(", which is no Erlang VM")


@pytest.mark.usefixtures("beam")
def test_what_a_node_at_the_port_calls_itself_is_said(epmd: int, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    other = SimpleNamespace(peer=SimpleNamespace(name="other@host"), close=lambda: closed.append(True))
    monkeypatch.setattr(NodeConnection, "open", lambda *_given: other)
    assert who(diagnose.CONFLICT, seen(epmd, free)).endswith("where a node answers that calls itself other@host")
    assert closed == [True]


class TestHolder:
    """Which client of epmd holds a name."""

    @pytest.fixture
    def says(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
        """The descriptors of an epmd, which is this process."""
        found: dict[str, int] = {}
        monkeypatch.setattr(epmd_client, "ask_descriptors", lambda *_given: found)
        monkeypatch.setattr(listeners, "epmd_pid", lambda _port: os.getpid())
        return found

    def test_it_is_at_the_other_end_of_the_descriptor(self, says: dict[str, int]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(server.getsockname()) as client:
                accepted, _address = server.accept()
                with accepted:
                    says["vic"] = accepted.fileno()
                    assert holder.port_of(Daemon("127.0.0.1", port), "vic", Deadline(60)) == client.getsockname()[1]

    @pytest.mark.usefixtures("says")
    def test_epmd_does_not_say(self, free: int) -> None:
        assert holder.port_of(Daemon("127.0.0.1", free), "vic", Deadline(60)) is None

    def test_epmd_can_not_be_seen(self, free: int, says: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
        says["vic"] = 0
        monkeypatch.setattr(listeners, "epmd_pid", lambda _port: None)
        assert holder.port_of(Daemon("127.0.0.1", free), "vic", Deadline(60)) is None
