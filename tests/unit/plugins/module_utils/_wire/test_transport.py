# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Framing, limits and the deadline, with peers inside this process."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import (
    Closed,
    ProtocolError,
    Refused,
    TimedOut,
    Unreachable,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire import transport
from ansible_collections.beamops.epmd.plugins.module_utils._wire.transport import Connection
from ansible_collections.beamops.epmd.tests.fakes import create_server

LONG = 600.0
SHORT = 0.02


class Peer:
    """The other end of a connection; the kernel keeps what it sends until it is read."""

    def __init__(self) -> None:
        self.listener = create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.accepted: list[socket.socket] = []

    def connect(self, seconds: float = LONG) -> tuple[Connection, socket.socket]:
        connection = Connection("127.0.0.1", self.port, Deadline(seconds))
        remote, _address = self.listener.accept()
        self.accepted.append(remote)
        return connection, remote

    def close(self) -> None:
        for end in (self.listener, *self.accepted):
            end.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with contextlib.closing(Peer()) as found:
        yield found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still: its one element is the time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def read(remote: socket.socket, size: int) -> bytes:
    return remote.recv(size, socket.MSG_WAITALL)


def test_packets_have_the_lengths_of_the_standard(peer: Peer) -> None:
    connection, remote = peer.connect()
    with connection:
        connection.send(b"abc")
        connection.send_handshake(b"N1")
        connection.send_packet(b"\x70")
        connection.send_packet(b"")
        assert read(remote, 16) == b"abc" + b"\0\x02N1" + b"\0\0\0\x01\x70" + b"\0\0\0\0"


def test_packets_are_received_whole_however_they_arrive(peer: Peer) -> None:
    connection, remote = peer.connect()
    with connection:
        remote.sendall(b"\0\x02sokay" + b"\0")
        assert connection.receive_handshake(100) == b"so"
        assert connection.receive_exactly(3) == b"kay"
        remote.sendall(b"\0\0")
        remote.sendall(b"\x03a")
        remote.sendall(b"bcd")
        assert connection.receive_packet(100) == b"abc"
        assert connection.receive_exactly(1) == b"d"
        assert connection.receive_exactly(0) == b""


@pytest.mark.parametrize("size", [1, 99, 100])
def test_a_packet_up_to_the_limit_is_received(peer: Peer, size: int) -> None:
    connection, remote = peer.connect()
    with connection:
        remote.sendall(struct.pack(">H", size) + b"x" * size + struct.pack(">I", size) + b"y" * size)
        assert connection.receive_handshake(100) == b"x" * size
        assert connection.receive_packet(100) == b"y" * size


@pytest.mark.parametrize("size", [101, 0xFFFF])
def test_a_length_over_the_limit_of_a_handshake_is_a_protocol_error_at_once(peer: Peer, size: int) -> None:
    connection, remote = peer.connect()
    with connection:
        remote.sendall(struct.pack(">H", size))
        with pytest.raises(ProtocolError, match=f"a packet of {size} bytes"):
            connection.receive_handshake(100)


@pytest.mark.parametrize("size", [101, 0xFFFFFFFF, int.from_bytes(b"HTTP", "big")])
def test_a_length_over_the_limit_is_a_protocol_error_at_once(peer: Peer, size: int) -> None:
    connection, remote = peer.connect()
    with connection:
        remote.sendall(struct.pack(">I", size))
        with pytest.raises(ProtocolError, match=f"a packet of {size} bytes"):
            connection.receive_packet(100)


def test_an_empty_packet_of_a_handshake_is_no_tick(peer: Peer) -> None:
    connection, remote = peer.connect()
    with connection:
        remote.sendall(b"\0\0")
        assert connection.receive_handshake(100) == b""


def test_ticks_are_answered_on_the_way_to_a_packet(peer: Peer) -> None:
    connection, remote = peer.connect()
    with connection:
        remote.sendall(bytes(4) * 3 + b"\0\0\0\x01x" + bytes(4))
        assert connection.receive_packet(100) == b"x"
        connection.send_packet(b"end")
        assert read(remote, 3 * 4 + 7) == bytes(4) * 3 + b"\0\0\0\x03end"


def test_ticks_for_ever_end_at_the_deadline(peer: Peer, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    connection, remote = peer.connect(10)
    send = connection.send

    def slow(data: bytes) -> None:
        clock[0] += 4
        send(data)

    monkeypatch.setattr(connection, "send", slow)
    remote.sendall(bytes(4) * 3)
    with connection:
        with pytest.raises(TimedOut):
            connection.receive_packet(100)
        assert read(remote, 8) == bytes(8)


@pytest.mark.parametrize("what", ["receive_handshake", "receive_packet", "receive_exactly", "receive_until_closed"])
@pytest.mark.parametrize("sent", [b"", b"\0"])
def test_a_silent_peer_ends_at_the_deadline(peer: Peer, what: str, sent: bytes) -> None:
    connection, remote = peer.connect()
    remote.sendall(sent)
    connection.deadline = Deadline(SHORT)
    with connection, pytest.raises(TimedOut, match=r"no answer within 0\.02 s"):
        getattr(connection, what)(100)


def test_a_peer_that_stops_within_a_packet_ends_at_the_deadline(peer: Peer) -> None:
    connection, remote = peer.connect()
    remote.sendall(b"\0\0\0\x64half")
    connection.deadline = Deadline(SHORT)
    with connection, pytest.raises(TimedOut):
        connection.receive_packet(100)


def test_a_peer_that_does_not_read_ends_at_the_deadline(peer: Peer) -> None:
    connection, _there = peer.connect()
    connection.deadline = Deadline(SHORT)
    with connection, pytest.raises(TimedOut):
        connection.send(bytes(1 << 26))


def test_nothing_is_sent_or_waited_for_after_the_deadline(peer: Peer, clock: list[float]) -> None:
    connection, remote = peer.connect(10)
    remote.sendall(b"\0\x01x")
    clock[0] += 10
    with connection:
        with pytest.raises(TimedOut):
            connection.send(b"x")
        with pytest.raises(TimedOut):
            connection.receive_handshake(100)
        with pytest.raises(BlockingIOError):
            remote.recv(1, socket.MSG_DONTWAIT)
    with pytest.raises(TimedOut):
        Connection("127.0.0.1", peer.port, connection.deadline)


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0\0\x04", b"\0\0\0\x04abc"])
def test_a_peer_that_closes_early_is_closed(peer: Peer, sent: bytes) -> None:
    for what in ("receive_packet", "receive_handshake"):
        connection, remote = peer.connect()
        remote.sendall(sent[2:] if what == "receive_handshake" else sent)
        remote.close()
        with connection, pytest.raises(Closed):
            getattr(connection, what)(100)


def reset(remote: socket.socket) -> None:
    """Close so that the other end sees a reset."""
    remote.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    remote.close()


def test_a_connection_that_is_reset_is_closed(peer: Peer) -> None:
    for what in ("receive_packet", "receive_handshake", "receive_until_closed", "receive_exactly"):
        connection, remote = peer.connect()
        reset(remote)
        with connection, pytest.raises(Closed):
            getattr(connection, what)(100)


def test_sending_to_a_connection_that_is_reset_is_closed(peer: Peer) -> None:
    connection, remote = peer.connect()
    reset(remote)
    with connection, pytest.raises(Closed):
        connection.send(b"x")


def test_all_bytes_until_the_peer_closes_are_received(peer: Peer) -> None:
    connection, remote = peer.connect()
    remote.sendall(b"x" * 100)
    remote.close()
    with connection:
        assert connection.receive_until_closed(100) == b"x" * 100


def test_more_than_the_limit_until_the_peer_closes_is_a_protocol_error(peer: Peer) -> None:
    connection, remote = peer.connect()
    remote.sendall(b"x" * 101)
    with connection, pytest.raises(ProtocolError, match="more than 100 bytes"):
        connection.receive_until_closed(100)


def test_a_port_where_nothing_listens_is_refused(peer: Peer) -> None:
    peer.listener.close()
    with pytest.raises(Refused):
        Connection("127.0.0.1", peer.port, Deadline(LONG))


@pytest.mark.parametrize("address", ["255.255.255.255", "ff02::1:2:3:4:5%lo"])
def test_an_address_that_no_connection_can_have_is_unreachable(address: str) -> None:
    with pytest.raises(Unreachable):
        Connection(address, 1, Deadline(LONG))


def test_a_connection_is_closed_at_the_end_of_its_with_block(peer: Peer) -> None:
    connection, remote = peer.connect()
    with connection:
        pass
    assert read(remote, 1) == b""


def test_a_peer_that_sees_the_end_at_once_is_not_waited_for(peer: Peer, clock: list[float]) -> None:
    assert clock
    connection, remote = peer.connect()
    remote.sendall(b"x" * 1000)
    remote.shutdown(socket.SHUT_WR)
    connection.hang_up()
    assert read(remote, 1) == b""


def test_a_peer_that_goes_on_sending_is_not_waited_for(
    peer: Peer, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, remote = peer.connect()
    remote.sendall(b"x" * 100)
    receive, taken = connection._receive, []

    def one_byte(_size: int) -> bytes:
        clock[0] += 0.1
        taken.append(receive(1))
        return taken[-1]

    monkeypatch.setattr(connection, "_receive", one_byte)
    connection.hang_up()
    assert len(taken) == 2
    with pytest.raises(ConnectionError):
        remote.sendall(bytes(1 << 26))


def test_a_request_is_sent_and_answered(peer: Peer) -> None:
    class Answering(Connection):
        """Has the peer answer as soon as the request is sent."""

        def send(self, data: bytes) -> None:
            super().send(data)
            remote, _address = peer.listener.accept()
            assert read(remote, len(data)) == data
            remote.sendall(b"answer")
            remote.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "Connection", Answering)
        assert transport.ask("127.0.0.1", peer.port, b"request", 100, Deadline(LONG)) == b"answer"


def test_a_request_that_is_not_answered_ends_at_the_deadline(peer: Peer) -> None:
    with pytest.raises(TimedOut):
        transport.ask("127.0.0.1", peer.port, b"request", 100, Deadline(SHORT))
