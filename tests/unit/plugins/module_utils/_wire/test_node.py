# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to a node: up to the challenge, past the cookie, and the calls after it."""

from __future__ import annotations

import hashlib
import socket
import struct
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _limits
from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import (
    Closed,
    EpmdError,
    NodeRefused,
    ProtocolError,
    Refused,
    TimedOut,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Pid, Raw, Reference, Term
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import HOST, OLD_NAME, NodeConnection
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, Handler, NodePeer, hang, node, rpc, say, terms
from ansible_collections.beamops.epmd.tests.fakes._node_peer import COOKIE
from ansible_collections.beamops.epmd.tests.fakes.rex import message

LONG = 60.0


def connect(port: int, seconds: float = LONG, patience: float = LONG) -> NodeConnection:
    return NodeConnection.open("127.0.0.1", port, Deadline(patience), Deadline(seconds))


def call(handler: Handler, seconds: float = LONG, peer: NodePeer | None = None) -> Raw:
    """The result of one call to a node that goes on with this handler."""
    with FakeServer(node(handler, peer)) as server:
        connection = connect(server.port, seconds)
        try:
            connection.authenticate(COOKIE)
            return connection.call("m", "f", [])
        finally:
            connection.close()


def packet(data: bytes) -> bytes:
    """After the length of a connected node."""
    return struct.pack(">I", len(data)) + data


def test_a_node_is_known_at_the_challenge_and_gets_no_digest_before_it_is_authenticated() -> None:
    received: list[bytes] = []

    def at_the_challenge(connection: socket.socket) -> None:
        peer = NodePeer("vic@web1")
        size = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
        for answer in peer.on_name(connection.recv(size, socket.MSG_WAITALL)):
            connection.sendall(struct.pack(">H", len(answer)) + answer)
        received.append(connection.recv(4096))

    with FakeServer(at_the_challenge) as server:
        connection = connect(server.port)
        assert connection.peer.name == "vic@web1"
        connection.close()
    assert received == [b""]
    assert server.accepted == 1


def test_a_node_before_otp_23_gets_a_second_connection_with_the_old_handshake() -> None:
    peer = NodePeer("vic@web1", version=22)
    calls: list[Any] = []

    def answer(module: str, function: str, arguments: list[Any]) -> Term:
        calls.append((module, function, arguments))
        return Atom("ok")

    with FakeServer(node(rpc(answer), peer)) as server:
        connection = connect(server.port)
        connection.authenticate(COOKIE)
        assert connection.call("m", "f", [Atom("x")]) == terms.encode(Atom("ok"))
        connection.close()
    assert (connection.peer.name, connection.peer.creation) == ("vic@web1", 0)
    assert peer.other_name == OLD_NAME.encode()
    assert calls == [("m", "f", ["x"])]
    assert server.accepted == 2


def test_a_peer_that_closes_twice_is_closed() -> None:
    with FakeServer(lambda _connection: None) as server:
        with pytest.raises(Closed):
            connect(server.port)
        assert server.accepted == 2


@pytest.mark.parametrize("version", [23, 25])
def test_our_name_is_lent_by_the_node(version: int) -> None:
    peer = NodePeer(version=version)
    senders: list[tuple[Term, Term]] = []

    def answer(connection: socket.socket) -> None:
        size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
        control, rest = terms.decode(connection.recv(size, socket.MSG_WAITALL)[2:])
        (_tag, (caller, reference), _request), _rest = terms.decode(rest[1:])
        senders.append((control[1], reference))
        connection.sendall(packet(message((2, Atom(""), caller), (reference, Atom("ok")))))
        hang(connection)

    assert call(answer, peer=peer) == terms.encode(Atom("ok"))
    name = Atom(f"1F2E3D4C5B6A@{HOST}")
    assert peer.other_name.decode() == name
    assert senders == [(Pid(name, 1, 0, 7), Reference(name, 7, (1, 0, 0)))]


def test_each_challenge_of_ours_is_another() -> None:
    challenges: list[bytes] = []

    class Listening(NodePeer):
        def on_reply(self, packet: bytes) -> bytes:
            challenges.append(packet[1:5])
            return super().on_reply(packet)

    with FakeServer(node(hang, Listening())) as server:
        for _unused in range(3):
            connection = connect(server.port)
            connection.authenticate(COOKIE)
            connection.close()
    assert len(set(challenges)) == 3


def test_a_node_that_closes_at_the_digest_refused_the_cookie() -> None:
    with FakeServer(node(hang)) as server:
        connection = connect(server.port)
        with pytest.raises(EpmdError, match=r"^it refused the cookie$"):
            connection.authenticate(b"AnotherCookie")
        connection.close()


def test_a_node_that_does_not_know_the_cookie_is_not_called() -> None:
    class Impostor(NodePeer):
        def on_reply(self, packet: bytes) -> bytes:
            return b"a" + hashlib.md5(b"AnotherCookie" + packet[1:5]).digest()

    with FakeServer(node(hang, Impostor())) as server:
        connection = connect(server.port)
        with pytest.raises(NodeRefused, match="does not know the cookie"):
            connection.authenticate(COOKIE)
        connection.close()


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (b"snok", b"", "try again"),
        (b"snot_allowed", b"", "net_kernel:allow"),
        (b"salive", b"\0\6sfalse", "another run"),
    ],
)
def test_a_node_that_refuses_us_gets_its_answer_and_says_why(status: bytes, answer: bytes, words: str) -> None:
    heard: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        size = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
        connection.recv(size, socket.MSG_WAITALL)
        connection.sendall(struct.pack(">H", len(status)) + status)
        heard.append(connection.recv(4096))

    with FakeServer(refuse) as server, pytest.raises(NodeRefused, match=words):
        connect(server.port)
    assert heard == [answer]
    assert server.accepted == 1


def test_results_come_back_encoded_and_each_call_has_its_own() -> None:
    results = iter([Atom("ok"), (1, b"x"), [1.5]])
    with FakeServer(node(rpc(lambda _module, _function, _arguments: next(results)))) as server:
        connection = connect(server.port)
        connection.authenticate(COOKIE)
        found = [connection.call("m", "f", []) for _unused in range(3)]
        connection.close()
    assert found == [terms.encode(Atom("ok")), terms.encode((1, b"x")), terms.encode([1.5])]
    assert all(isinstance(result, Raw) for result in found)


def test_messages_that_are_no_answer_are_skipped_and_ticks_are_answered() -> None:
    ticks: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
        _control, rest = terms.decode(connection.recv(size, socket.MSG_WAITALL)[2:])
        (_tag, (caller, reference), _request), _rest = terms.decode(rest[1:])
        connection.sendall(packet(message((6, caller, Atom(""), Atom("features_request")), Atom("x"))))
        connection.sendall(packet(message((2, Atom(""), caller), (reference._replace(words=(9, 0, 0)), 1))))
        connection.sendall(packet(b""))
        connection.sendall(packet(message((2, Atom(""), caller), (reference, 2))))
        ticks.append(connection.recv(4, socket.MSG_WAITALL))
        hang(connection)

    assert call(answer) == terms.encode(2)
    assert ticks == [bytes(4)]


def test_a_message_over_the_limit_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match=f"a packet of {_limits.MAX_MESSAGE + 1} bytes"):
        call(say(struct.pack(">I", _limits.MAX_MESSAGE + 1)))


def test_a_node_that_does_not_answer_a_call_ends_at_the_deadline() -> None:
    with pytest.raises(TimedOut, match=r"no answer within 0\.3 s"):
        call(hang, seconds=0.3)


def test_the_challenge_has_to_come_within_the_patience_and_the_rest_within_the_deadline() -> None:
    with FakeServer(hang) as server, pytest.raises(TimedOut, match=r"no answer within 0\.1 s"):
        connect(server.port, patience=0.1)
    with FakeServer(node(hang)) as server:
        connection = connect(server.port, seconds=0.2, patience=LONG)
        connection.authenticate(COOKIE)
        with pytest.raises(TimedOut, match=r"no answer within 0\.2 s"):
            connection.call("m", "f", [])
        connection.close()


def test_a_port_where_nothing_listens_is_refused() -> None:
    with FakeServer(hang) as server:
        free = server.port
    with pytest.raises(Refused):
        connect(free)


def test_the_ends_of_a_connection_are_those_of_its_socket() -> None:
    ends: list[tuple[tuple[str, int], tuple[str, int]]] = []

    def handler(connection: socket.socket) -> None:
        ends.append((connection.getpeername(), connection.getsockname()))
        node(hang)(connection)

    with FakeServer(handler) as server:
        connection = connect(server.port)
        assert connection.ends == ends[0]
        connection.close()
