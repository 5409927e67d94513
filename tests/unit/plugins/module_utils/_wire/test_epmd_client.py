# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of an epmd that is down, mute or up, lies, or has clients that do."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd_client
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, Handler, answer, epmd_server, hang

HEAD = epmd_server.names_reply({})


def an_epmd(names: bytes, ports: Mapping[str, int]) -> Handler:
    """Handle a connection as an epmd does that has this table."""

    def handler(connection: socket.socket) -> None:
        request = connection.recv(1024)
        if request == b"\0\1n":
            connection.sendall(HEAD + names)
        else:
            assert request[:3] == bytes([0, len(request) - 2]) + b"z"
            name = request[3:].decode("latin-1")
            known = name in ports
            connection.sendall(epmd_server.port_reply(name, ports[name]) if known else epmd_server.NOT_REGISTERED)

    return handler


def ask(handler: Handler, name: str) -> tuple[Table, int]:
    with FakeServer(handler) as server:
        found = epmd_client.ask_about(Daemon("127.0.0.1", server.port), name, Deadline(60))
    return found, server.accepted


VIC = b"name vic at port 4711\n"
FORGED = b"name x at port 1\nname vic at port 666\n"


@pytest.mark.parametrize("names", [VIC, VIC + FORGED, FORGED + VIC, FORGED])
def test_the_answer_about_one_name_counts_for_more_than_the_table(names: bytes) -> None:
    others = {} if names == VIC else {"x": 1}
    assert ask(an_epmd(names, {"vic": 4711}), "vic") == (Table(State.UP, {**others, "vic": 4711}), 2)
    assert ask(an_epmd(names, {}), "vic") == (Table(State.UP, others), 2)


def test_a_name_that_is_registered_after_the_table_was_sent_is_found() -> None:
    assert ask(an_epmd(VIC, {"other": 5}), "other") == (Table(State.UP, {"vic": 4711, "other": 5}), 2)
    assert ask(an_epmd(VIC, {}), "other") == (Table(State.UP, {"vic": 4711}), 2)


def test_an_epmd_that_closes_at_a_name_does_not_have_it() -> None:
    """OTP's own does so for a name that is not UTF-8."""
    answers = iter([answer(epmd_server.names_reply({"vic": 4711})), answer(b"")])

    def handler(connection: socket.socket) -> None:
        next(answers)(connection)

    assert ask(handler, "\xe9") == (Table(State.UP, {"vic": 4711}), 2)


@pytest.mark.parametrize("name", ["", "\u0416", "x" * 256])
def test_epmd_is_not_asked_about_an_invalid_name(name: str) -> None:
    assert ask(an_epmd(VIC, {}), name) == (Table(State.UP, {"vic": 4711}), 1)


def test_an_epmd_with_a_malformed_answer_about_a_name_gives_no_table() -> None:
    found, asked = ask(answer(HEAD + VIC), "vic")
    assert (found.state, found.names) == (State.MUTE, {})
    assert "its answer about a name" in found.trouble
    assert asked == 2


def test_an_epmd_that_closes_at_a_name_of_its_table_is_mute() -> None:
    answers = iter([answer(epmd_server.names_reply({"vic": 4711})), answer(b"")])

    def handler(connection: socket.socket) -> None:
        next(answers)(connection)

    assert ask(handler, "vic") == (Table(State.MUTE, {}, "it closed the connection without an answer"), 2)


def test_port_0_is_a_registration_too() -> None:
    assert ask(an_epmd(b"", {"vic": 0}), "vic") == (Table(State.UP, {"vic": 0}), 2)


def test_where_nothing_listens_epmd_is_down() -> None:
    with FakeServer(hang) as server:
        free = server.port
    assert epmd_client.ask_about(Daemon("127.0.0.1", free), "vic", Deadline(60)) == DOWN
    assert Table(State.DOWN, {}, "") == DOWN


def test_an_epmd_that_hangs_is_mute_and_is_not_asked_for_a_name() -> None:
    with FakeServer(hang) as server:
        found = epmd_client.ask_about(Daemon("127.0.0.1", server.port), "vic", Deadline(0.1))
    assert found == Table(State.MUTE, {}, "no answer within 0.1 s")
    assert server.accepted == 1


def test_an_epmd_that_hangs_only_at_a_name_is_mute() -> None:
    answers = iter([answer(epmd_server.names_reply({"other": 1})), hang])

    def handler(connection: socket.socket) -> None:
        next(answers)(connection)

    with FakeServer(handler) as server:
        found = epmd_client.ask_about(Daemon("127.0.0.1", server.port), "vic", Deadline(0.2))
    assert found == Table(State.MUTE, {}, "no answer within 0.2 s")


def test_an_epmd_that_ends_before_it_is_asked_for_a_name_is_down() -> None:
    table = Table(State.UP, {"vic": 4711})
    with FakeServer(hang) as server:
        free = server.port
    assert epmd_client.confirm(Daemon("127.0.0.1", free), table, "vic", Deadline(60)) == DOWN


@pytest.mark.parametrize("table", [DOWN, Table(State.MUTE, {}, "no answer within 5 s")])
def test_an_epmd_without_a_table_is_not_asked_for_a_name(table: Table) -> None:
    with FakeServer(hang) as server:
        assert epmd_client.confirm(Daemon("127.0.0.1", server.port), table, "vic", Deadline(60)) is table
    assert server.accepted == 0


def test_the_descriptors_of_epmd_are_those_of_its_dump() -> None:
    dump = HEAD + b"active name     <vic> at port 4711, fd = 5\n\x00"
    requests: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        requests.append(connection.recv(1024))
        connection.sendall(dump)

    with FakeServer(handler) as server:
        assert epmd_client.ask_descriptors(Daemon("127.0.0.1", server.port), Deadline(60)) == {"vic": 5}
    assert requests == [b"\0\1d"]


@pytest.mark.parametrize("handler", [answer(b""), answer(b"\0\0"), hang], ids=["closes", "cut off", "hangs"])
def test_an_epmd_without_a_dump_has_no_descriptors(handler: Handler) -> None:
    with FakeServer(handler) as server:
        assert epmd_client.ask_descriptors(Daemon("127.0.0.1", server.port), Deadline(0.2)) == {}
